"""What several layers of tests share: a language model that needs no machine, and nodes that start in a second."""

from collections.abc import Iterator

import pytest

from tests.support.in_thread import in_thread
from tests.support.node import quick_speech
from tests.support.openai_llm_standin import OpenAiStandin, echo


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
