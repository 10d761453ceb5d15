"""A real node for the tests of this layer, started once: real VAD, STT and voice; the language model is a stand-in."""

from collections.abc import Iterator

import pytest

from tests.support.node import NodeProcess, running_node
from tests.support.openai_llm_standin import OpenAiStandin, by_rules


@pytest.fixture(scope="session")
def node(llm: OpenAiStandin) -> Iterator[NodeProcess]:
    """A node on loopback, without keys."""
    with running_node(VOICE_LLM=f"openai:standin@{llm.url}", VOICE_LLM_IMAGES="true") as running:
        yield running


@pytest.fixture
def answers(llm: OpenAiStandin) -> Iterator[OpenAiStandin]:
    """The language model, whose `answer` and `token_seconds` the test may set; it echoes again afterwards."""
    llm.requests.clear()
    llm.cancelled = 0
    yield llm
    llm.answer, llm.token_seconds, llm.strict, llm.context_tokens = by_rules({}), 0.0, False, None


@pytest.fixture
def no_error_logged(node: NodeProcess) -> Iterator[None]:
    """What a client does wrong is no error of the node's, and is not logged as one."""
    before = len(node.lines)
    yield
    assert [line for line in node.lines[before:] if line["level"] not in ("info", "warning")] == []
