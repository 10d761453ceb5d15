"""What several layers of tests share: a language model that needs no machine, and nodes that start in a second.

A test marked `needs` is left out where the programs that it names are not installed, with a line that says how to get
them; with `--complete`, as CI runs it, it fails there.
"""

from collections.abc import Iterator

import pytest

from tests.support.in_thread import in_thread
from tests.support.node import quick_speech
from tests.support.openai_llm_standin import OpenAiStandin, echo
from tests.support.programs import missing


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--complete", action="store_true", help="leave out no test for want of a program")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        if lacking := missing(marker.args):
            (pytest.fail if item.config.getoption("--complete") else pytest.skip)(lacking)


@pytest.fixture(scope="session")
def llm() -> Iterator[OpenAiStandin]:
    """The language model behind the nodes, on an event loop of its own."""
    with in_thread(OpenAiStandin(answer=echo, first_token_seconds=0.02)) as standin:
        yield standin


@pytest.fixture(scope="session")
def quick(llm: OpenAiStandin) -> Iterator[dict[str, str]]:
    """Variables of nodes that start fast: stand-ins for their speech and their language model."""
    with quick_speech() as speech:
        yield speech | {"VOICE_LLM": f"openai:standin@{llm.url}"}
