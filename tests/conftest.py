"""What several layers of tests share: a language model that needs no machine, and nodes that start in a second.

A test that `needs` programs is left out where they are not installed, with a line that says how to get them; with
`--complete`, as CI runs it, it fails there.
"""

from collections.abc import Callable, Iterator
from functools import partial

import hypothesis
import pytest

from tests.support.in_thread import in_thread
from tests.support.node import quick_speech
from tests.support.openai_llm_standin import OpenAiStandin, echo
from tests.support.programs import missing

# A busy machine is no failure.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--complete", action="store_true", help="leave out no test for want of a program")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        _require(item.config, *marker.args)


@pytest.fixture
def require(pytestconfig: pytest.Config) -> Callable[..., None]:
    """What `needs` does, for a fixture: `require(NAMESPACES)`."""
    return partial(_require, pytestconfig)


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


def _require(config: pytest.Config, *needed: str) -> None:
    if lacking := missing(needed):
        (pytest.fail if config.getoption("--complete") else pytest.skip)(lacking)
