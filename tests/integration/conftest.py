"""A real node for the tests of this layer, started once: real VAD, STT and voice; the language model is a stand-in."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from tests.support.node import NodeProcess, quick_speech, running_node
from tests.support.openai_llm_standin import OpenAiStandin, by_rules, echo


@pytest.fixture(scope="session")
def llm() -> Iterator[OpenAiStandin]:
    """The language model behind `node`, on an event loop of its own. Set `llm.answer` through the `answers` fixture."""
    standin = OpenAiStandin(answer=echo, first_token_seconds=0.02)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    started: Future[OpenAiStandin] = asyncio.run_coroutine_threadsafe(standin.__aenter__(), loop)
    started.result(10)
    yield standin
    asyncio.run_coroutine_threadsafe(standin.__aexit__(None, None, None), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="session")
def node(llm: OpenAiStandin) -> Iterator[NodeProcess]:
    """A node on loopback, without keys."""
    with running_node(VOICE_LLM=f"openai:standin@{llm.url}") as running:
        yield running


@pytest.fixture(scope="session")
def quick(llm: OpenAiStandin) -> Iterator[dict[str, str]]:
    """Variables of nodes that start fast: stand-ins for their speech and their language model."""
    with quick_speech() as speech:
        yield speech | {"VOICE_LLM": f"openai:standin@{llm.url}"}


@pytest.fixture
def answers(llm: OpenAiStandin) -> Iterator[OpenAiStandin]:
    """The language model, whose `answer` and `token_seconds` the test may set; it echoes again afterwards."""
    llm.requests.clear()
    yield llm
    llm.answer, llm.token_seconds = by_rules({}), 0.0


@pytest.fixture
def no_error_logged(node: NodeProcess) -> Iterator[None]:
    """What a client does wrong is no error of the node's, and is not logged as one."""
    before = len(node.lines)
    yield
    assert [line for line in node.lines[before:] if line["level"] not in ("info", "warning")] == []
