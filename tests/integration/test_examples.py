"""The examples for LiveKit Agents (Python, Node) and pipecat: whole programs as they stand, on a real node.

LiveKit's room is its libraries' own console (`tests.support.livekit_console`); pipecat's bot is called as Twilio does.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from server.client.transcripts import words
from tests.support import node_js
from tests.support.cloud.network_load_balancer import NetworkLoadBalancer
from tests.support.cloud.target_health import TargetGroup
from tests.support.live_call import live_call
from tests.support.livekit_console import console
from tests.support.media_stream import media_stream
from tests.support.node import NodeProcess, running_node
from tests.support.openai_llm_standin import Answer, OpenAiStandin, ToolCallAnswer, by_rules, last_text
from tests.support.paced_caller import PacedCaller
from tests.support.ports import free_ports
from tests.support.running_program import running_program

pytestmark = pytest.mark.examples

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
ROOM = Path(__file__).parent / "node_clients" / "telephone_room.mjs"
LIVEKIT = {"LIVEKIT_URL": "ws://127.0.0.1:1", "LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": "a-secret" * 4}

HOURS, STORY, NAME = "When is the library open on Monday?", "Tell me a story.", "My name is Peter."
TALE = (
    "Once upon a time there was a farmer who had three sons. The eldest went to sea. The second one became a baker. "
    "The youngest stayed at home and looked after the sheep on the green hills behind the house."
)
RULES: dict[str, Answer] = {
    "open": ToolCallAnswer("opening_hours", {"day": "Monday"}),
    "story": TALE,
    "name": "Nice to meet you.",
}

_PATIENCE = 40.0  # seconds: what is large loads for long, on two cores that others share
CUT_OFF = "cut off by accident"
"""What the node tells the model of an answer whose connection was lost."""

Example = Callable[[str], AbstractAsyncContextManager[PacedCaller]]
"""Runs a program whose model is the node at a base URL, with a caller on its line."""


@pytest.fixture
def livekit_python(tmp_path: Path) -> Example:
    python = ROOT / ".venv" / "livekit" / "bin" / "python"
    command: list[str | Path] = [python, "-m", "livekit.agents", "console", EXAMPLES / "python" / "livekit_agent.py"]
    return lambda base_url: console(command, tmp_path / "log", VOICEFLEET_URL=base_url, **LIVEKIT)


@pytest.fixture(scope="module")
def node_worker() -> Path:
    """The program of the example, built."""
    project = EXAMPLES / "livekit-node"
    node_js.install(project)
    node_js.npm(project, "run", "build")
    return project / "dist" / "agent.js"


@pytest.fixture
def livekit_node(node_worker: Path, tmp_path: Path) -> Example:
    command: list[str | Path] = [node_js.newest_node(), node_worker, "console"]
    return lambda base_url: console(command, tmp_path / "log", VOICEFLEET_URL=base_url, **LIVEKIT)


@pytest.fixture
def pipecat(tmp_path: Path) -> Example:
    return partial(_pipecat, tmp_path / "log")


@asynccontextmanager
async def _pipecat(log: Path, base_url: str) -> AsyncIterator[PacedCaller]:
    (port,) = free_ports(1)
    python, bot = ROOT / ".venv" / "pipecat" / "bin" / "python", EXAMPLES / "python" / "pipecat_bot.py"
    command: list[str | Path] = [python, bot, "-t", "twilio", "--host", "127.0.0.1", "--port", str(port)]
    async with running_program(command, log, VOICEFLEET_URL=base_url):
        await _listening(port)
        async with media_stream(f"ws://127.0.0.1:{port}/ws") as caller:
            yield caller


async def _listening(port: int) -> None:
    async with asyncio.timeout(_PATIENCE):
        while True:
            with suppress(ConnectionError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                return writer.close()
            await asyncio.sleep(0.1)


@pytest.fixture(params=["livekit_python", "livekit_node", "pipecat"])
def example(request: pytest.FixtureRequest) -> Example:
    chosen: Example = request.getfixturevalue(request.param)
    return chosen


async def ask(caller: PacedCaller, model: OpenAiStandin, question: str) -> None:
    """Say it, and hear the answer to its end."""
    await caller.say(question)
    await caller.until(lambda: words(last_text(model.requests[-1])) == words(question))
    await caller.hear_out()


def told(model: OpenAiStandin, *roles: str) -> list[list[str]]:
    """The words of what the model was last shown, by whom they were said."""
    return [words(message["content"] or "") for message in model.requests[-1]["messages"] if message["role"] in roles]


async def test_an_example_greets_looks_up_and_falls_silent_when_the_caller_speaks(
    node: NodeProcess, answers: OpenAiStandin, example: Example
) -> None:
    answers.answer = by_rules(RULES)
    async with example(node.base_url) as caller:
        await caller.hear_out()
        await caller.say(HOURS)
        await caller.until(lambda: answers.requests[-1]["messages"][-1]["role"] == "tool")
        await caller.hear_out()
        assert told(answers, "tool") == [words("from nine to five")]
        await caller.say(STORY)
        before = len(caller.loud)
        await caller.until(lambda: sum(caller.loud[before:]) > 75)
        await ask(caller, answers, NAME)
    assert told(answers, "user")[-3:] == [*map(words, (HOURS, STORY, NAME))]
    story = answers.requests[-1]["messages"][-2]["content"]
    assert TALE.startswith(story)
    assert 10 < len(story) < len(TALE) / 2, "the model knows of as much as the caller has heard"


async def test_the_worker_in_node_prepares_processes_for_calls_to_come(node_worker: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    command: list[str | Path] = [node_js.newest_node(), node_worker, "start"]
    async with running_program(command, log, **LIVEKIT, LOG_LEVEL="debug"), asyncio.timeout(_PATIENCE):
        while b"job runner initialized" not in await asyncio.to_thread(log.read_bytes):  # noqa: ASYNC110  # another writes it
            await asyncio.sleep(0.1)


async def test_an_example_calls_again_when_the_node_is_full(quick: dict[str, str], example: Example) -> None:
    with running_node(**quick, VOICE_MAX_SESSIONS="1", VOICE_RETRY_AFTER_SECONDS="1") as full:
        async with AsyncExitStack() as calls:
            async with live_call(full.websocket):
                caller = await calls.enter_async_context(example(full.base_url))
                await full.until(lambda: full.events("handshake_refused"), seconds=40.0)
            await caller.until(lambda: any(caller.loud))


@pytest.fixture
async def balancer(node: NodeProcess) -> AsyncIterator[NetworkLoadBalancer]:
    """A way to the node on which connections can be lost."""
    async with NetworkLoadBalancer(TargetGroup(check_interval=0.1, healthy_threshold=1, registration=0.0)) as balancer:
        ports = [urlsplit(url).port or 0 for url in (node.websocket, node.http)]
        balancer.register("node", port=ports[0], http_port=ports[1])
        await balancer.until(node="healthy")
        yield balancer


async def test_an_example_goes_on_with_what_was_said_when_its_connection_is_lost(
    balancer: NetworkLoadBalancer, answers: OpenAiStandin, example: Example
) -> None:
    answers.answer = by_rules({"name": "Nice to meet you."})
    async with example(f"ws://{balancer.address}/v1") as caller:
        await caller.hear_out()
        await ask(caller, answers, NAME)
        balancer.reset("node")
        await caller.until(lambda: balancer.connections("node") == 1)
        await ask(caller, answers, STORY)
    # pipecat tells another call's words as one message.
    shown = " ".join(word for message in told(answers, "user", "assistant") for word in message)
    assert "my name is peter" in shown
    assert "nice to meet you" in shown


async def test_the_worker_in_node_says_the_rest_of_an_answer_whose_connection_is_lost(
    balancer: NetworkLoadBalancer, answers: OpenAiStandin, livekit_node: Example
) -> None:
    rest = "And they lived happily."
    answers.answer = lambda request: rest if CUT_OFF in str(request["messages"]) else by_rules(RULES)(request)
    async with livekit_node(f"ws://{balancer.address}/v1") as caller:
        await caller.hear_out()
        await caller.say(STORY)
        before = len(caller.loud)
        await caller.until(lambda: sum(caller.loud[before:]) > 50)
        balancer.reset("node")
        await caller.until(lambda: CUT_OFF in str(answers.requests[-1]["messages"]))
        await caller.hear_out()
        await ask(caller, answers, NAME)
    heard = answers.requests[-1]["messages"][-2]["content"]
    assert heard.endswith(rest), "the caller was not thought to have interrupted it"


class LiveKitServer:
    """What LiveKit's server does for a telephone call: it tells which keys are pressed, and transfers the call."""

    def __init__(self) -> None:
        self.keys: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.transferred: list[dict[str, str]] = []

    async def press(self, _: web.Request) -> web.Response:
        return web.Response(text=await self.keys)

    async def transfer(self, request: web.Request) -> web.Response:
        self.transferred.append(await request.json())
        return web.json_response({})


@pytest.fixture
async def livekit_server() -> AsyncIterator[tuple[LiveKitServer, str]]:
    livekit, app = LiveKitServer(), web.Application()
    app.router.add_get("/keys", livekit.press)
    app.router.add_post("/twirp/livekit.SIP/TransferSIPParticipant", livekit.transfer)
    async with TestServer(app) as server:
        yield livekit, str(server.make_url("/")).rstrip("/")


async def test_the_worker_in_node_tells_the_keys_that_are_pressed_and_transfers_the_call(
    node: NodeProcess,
    answers: OpenAiStandin,
    node_worker: Path,
    livekit_server: tuple[LiveKitServer, str],
    tmp_path: Path,
) -> None:
    answers.answer = by_rules(
        {"person": ToolCallAnswer("transfer_to_a_person"), "pressed": "Your number is forty two."}
    )
    livekit, url = livekit_server
    command: list[str | Path] = [node_js.newest_node(), "--import", ROOM, node_worker, "console"]
    variables = LIVEKIT | {"LIVEKIT_URL": url, "KEYS_URL": f"{url}/keys", "VOICEFLEET_URL": node.base_url}
    async with console(command, tmp_path / "log", **variables) as caller:
        await caller.hear_out()
        livekit.keys.set_result("42#")
        await caller.until(lambda: last_text(answers.requests[-1]) == "The caller pressed 4, 2, #.")
        await caller.hear_out()
        await caller.say("I want to talk to a person.")
        await caller.until(lambda: answers.requests[-1]["messages"][-1]["role"] == "tool")
    [transfer] = livekit.transferred
    assert (transfer["participantIdentity"], transfer["transferTo"]) == ("sip_caller", "tel:+15550100")
