"""The examples for LiveKit Agents, in Python and in Node: whole workers as they stand, on a real node.

No LiveKit server is at hand: a console of the libraries' own stands in for the room (`tests.support.livekit_console`).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import pytest

from server.client.transcripts import words
from tests.support import node_js
from tests.support.cloud.network_load_balancer import NetworkLoadBalancer
from tests.support.cloud.target_health import TargetGroup
from tests.support.live_call import live_call
from tests.support.livekit_console import Console, console
from tests.support.node import NodeProcess, running_node
from tests.support.openai_llm_standin import Answer, OpenAiStandin, ToolCallAnswer, by_rules

pytestmark = pytest.mark.examples

ROOT = Path(__file__).parents[2]
NODE_WORKER = ROOT / "examples" / "livekit-node"
PYTHON_WORKER = ROOT / "examples" / "python" / "livekit_agent.py"
LIVEKIT = {
    "LIVEKIT_URL": "ws://127.0.0.1:1",
    "LIVEKIT_API_KEY": "key",
    "LIVEKIT_API_SECRET": "a-secret-of-thirty-two-characters",
}

GREETING = "Good morning, this is the library."
HOURS, STORY, NAME = "When is the library open on Monday?", "Tell me a story.", "My name is Peter."
TALE = (
    "Once upon a time there was a farmer who had three sons. The eldest went to sea. The second one became a baker. "
    "The youngest stayed at home and looked after the sheep on the green hills behind the house."
)
RULES: dict[str, Answer] = {
    "call begins": GREETING,
    "open": ToolCallAnswer("opening_hours", {"day": "Monday"}),
    "story": TALE,
    "name": "Nice to meet you.",
}


class Worker(Protocol):
    """Runs a worker whose model is the node at a base URL."""

    def __call__(self, base_url: str) -> AbstractAsyncContextManager[Console]: ...


@pytest.fixture(scope="session", params=["python", "node"])
def command(request: pytest.FixtureRequest) -> list[str | Path]:
    """How a worker is started in console mode."""
    if request.param == "python":
        return [ROOT / ".venv" / "livekit" / "bin" / "python", "-m", "livekit.agents", "console", PYTHON_WORKER]
    node_js.install(NODE_WORKER)
    node_js.npm(NODE_WORKER, "run", "build")
    return [node_js.newest_node(), NODE_WORKER / "dist" / "agent.js", "console"]


@pytest.fixture
def worker(command: list[str | Path], tmp_path: Path) -> Worker:
    return lambda base_url: console(command, tmp_path / "worker.log", VOICEFLEET_URL=base_url, **LIVEKIT)


async def hear(caller: Console, text: str) -> None:
    """Wait until the worker has said `text` to its end."""
    await caller.until(lambda: words(caller.said[-1]) == words(text) and caller.silent if caller.said else False)


async def test_a_worker_greets_looks_up_and_falls_silent_when_the_caller_speaks(
    node: NodeProcess, answers: OpenAiStandin, worker: Worker
) -> None:
    answers.answer = by_rules(RULES)
    async with worker(node.base_url) as caller:
        await hear(caller, GREETING)
        await caller.say(HOURS)
        await hear(caller, "The answer is: from nine to five")
        await caller.say(STORY)
        before = len(caller.loud)
        await caller.until(lambda: sum(caller.loud[before:]) > 75)
        await caller.say(NAME)
        await hear(caller, "Nice to meet you.")
    told = answers.requests[-1]["messages"]
    asked = [words(message["content"]) for message in told if message["role"] == "user"]
    assert asked[-3:] == [*map(words, (HOURS, STORY, NAME))]
    story = told[-2]["content"]
    assert TALE.startswith(story)
    assert 5 < len(story) < len(TALE) / 2, "the model knows of as much as the caller has heard"


async def test_a_worker_calls_again_when_the_node_is_full(quick: dict[str, str], worker: Worker) -> None:
    with running_node(**quick, VOICE_MAX_SESSIONS="1", VOICE_RETRY_AFTER_SECONDS="1") as full:
        async with AsyncExitStack() as calls:
            async with live_call(full.websocket):
                caller = await calls.enter_async_context(worker(full.base_url))
                await full.until(lambda: full.events("handshake_refused"), seconds=30.0)
            await caller.until(lambda: any(caller.loud))


@pytest.fixture
async def balancer(node: NodeProcess) -> AsyncIterator[NetworkLoadBalancer]:
    """A way to the node on which connections can be lost."""
    async with NetworkLoadBalancer(TargetGroup(check_interval=0.1, healthy_threshold=1, registration=0.0)) as balancer:
        ports = [urlsplit(url).port or 0 for url in (node.websocket, node.http)]
        balancer.register("node", port=ports[0], http_port=ports[1])
        await balancer.until(node="healthy")
        yield balancer


async def test_a_worker_goes_on_with_its_call_when_the_connection_is_lost(
    balancer: NetworkLoadBalancer, answers: OpenAiStandin, worker: Worker
) -> None:
    answers.answer = by_rules(RULES)
    async with worker(f"ws://{balancer.address}/v1") as caller:
        await hear(caller, GREETING)
        await caller.say(STORY)
        await hear(caller, TALE)
        balancer.reset("node")
        await asyncio.sleep(1.0)
        await caller.say(NAME)
        await hear(caller, "Nice to meet you.")
    told = answers.requests[-1]["messages"]
    assert [words(message["content"]) for message in told[-4:]] == [*map(words, (GREETING, STORY, TALE, NAME))]
