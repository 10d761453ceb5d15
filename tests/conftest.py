"""What several layers of tests share: a language model that needs no machine, and nodes that start in a second."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from tests.support.node import quick_speech
from tests.support.openai_llm_standin import OpenAiStandin, echo


@pytest.fixture(scope="session")
def llm() -> Iterator[OpenAiStandin]:
    """The language model behind the nodes, on an event loop of its own."""
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
def quick(llm: OpenAiStandin) -> Iterator[dict[str, str]]:
    """Variables of nodes that start fast: stand-ins for their speech and their language model."""
    with quick_speech() as speech:
        yield speech | {"VOICE_LLM": f"openai:standin@{llm.url}"}
