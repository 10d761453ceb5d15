"""Our own callers, in Python and in TypeScript, hold their calls while nodes behind a balancer are lost and drained."""

import asyncio
import json
import signal
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.server import ServerConnection, serve

from server.access.auth import mint_token
from server.audio.wav import read_wav
from server.client.caller import call, speech_from
from server.client.errors import CallRefused
from server.client.line import Change, Lost, WentOn
from server.client.playout import is_audible
from server.client.wire import BASE64, Wire
from tests.support import node_js
from tests.support.balanced_fleet import TARGETS
from tests.support.cloud.network_load_balancer import NetworkLoadBalancer
from tests.support.cloud.target_health import State
from tests.support.live_call import live_call
from tests.support.node import NodeProcess, running_node
from tests.support.openai_llm_standin import OpenAiStandin, Request

ROOT = Path(__file__).parents[2]
QUESTION = ROOT / "server" / "demo" / "question.wav"
EXAMPLE = ROOT / "examples" / "node"
SECRET = "a-secret-of-more-than-thirty-two-bytes"
WIRE_BYTES_PER_SECOND = 48_000
BINARY = Wire(binary=True)
STORY = "One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen."
REST = "And that is all."


def token() -> str:
    return mint_token(SECRET, "web", 600.0, time.time())


def story(request: Request) -> str:
    return REST if "cut off by accident" in str(request["messages"]) else STORY


@pytest.fixture
def nodes(quick: dict[str, str]) -> Iterator[list[NodeProcess]]:
    """Two of a fleet."""
    settings = {**quick, "VOICE_TOKEN_SECRET": SECRET}
    with running_node(**settings) as one, running_node(**settings) as other:
        yield [one, other]


class Balanced:
    """An address behind which there is a first node, and a second one once it has `joined`."""

    def __init__(self, balancer: NetworkLoadBalancer, nodes: list[NodeProcess]) -> None:
        self._balancer = balancer
        self._nodes = nodes
        self.url = urlsplit(nodes[0].websocket)._replace(netloc=balancer.address).geturl()

    async def joined(self, index: int = 1) -> None:
        node = self._nodes[index]
        ports = [urlsplit(url).port for url in (node.websocket, node.http)]
        assert ports[0]
        assert ports[1]
        self._balancer.register(str(index), port=ports[0], http_port=ports[1])
        healthy: dict[str, State] = {str(index): "healthy"}
        await self._balancer.until(**healthy)


@pytest.fixture
async def balanced(nodes: list[NodeProcess]) -> AsyncIterator[Balanced]:
    """The fleet's own, in a hurry."""
    async with NetworkLoadBalancer(replace(TARGETS, registration=0.0), speed=100.0) as balancer:
        behind = Balanced(balancer, nodes)
        await behind.joined(0)
        yield behind


async def is_answering(node: NodeProcess) -> None:
    """Until the caller hears an answer of the node's."""
    await node.until(lambda: node.metric("voice_to_voice_seconds_count") >= 1)


async def is_in_a_story(node: NodeProcess) -> None:
    """Until the caller hears a long answer of the node's, and its client has a ticket that knows of it."""
    await is_answering(node)
    before = node.metric("voice_tickets_issued_total")
    await node.until(lambda: node.metric("voice_tickets_issued_total") > before)


def heard(model: OpenAiStandin) -> list[str]:
    """What the assistant had said, by the last request to the model."""
    return [message["content"] for message in model.requests[-1]["messages"] if message["role"] == "assistant"]


@pytest.mark.parametrize("wire", [BASE64, BINARY], ids=["base64", "binary"])
async def test_our_caller_hears_the_rest_of_an_answer_whose_node_is_killed(
    wire: Wire, nodes: list[NodeProcess], balanced: Balanced, answers: OpenAiStandin
) -> None:
    answers.answer = story
    changes: list[Change] = []
    async with call(balanced.url, token(), resumes=True, wire=wire, on_change=changes.append) as caller:
        turn = asyncio.create_task(caller.say(speech_from(QUESTION)))
        await is_in_a_story(nodes[0])
        await balanced.joined()
        nodes[0].process.kill()
        assert ((await turn).status, (await turn).answered) == ("completed", REST)
        assert is_audible((await turn).playout.samples)
    assert [type(change) for change in changes] == [Lost, WentOn]
    assert nodes[1].metric("voice_calls_resumed_total") == 1
    assert STORY.startswith(heard(answers)[0])


async def test_our_caller_is_answered_whose_node_is_killed_before_the_end_of_the_question(
    nodes: list[NodeProcess], balanced: Balanced, answers: OpenAiStandin
) -> None:
    answers.answer = lambda _: "Yes."
    question, patient = speech_from(QUESTION), {"type": "server_vad", "silence_duration_ms": 3000}
    async with call(balanced.url, token(), turn_detection=patient, resumes=True) as caller:
        turn = asyncio.create_task(caller.say(question))
        await nodes[0].until(lambda: len(caller.lateness) > len(question.messages(BASE64)))
        await balanced.joined()
        nodes[0].process.kill()
        assert ((await turn).status, (await turn).answered) == ("completed", "Yes.")
    assert len(answers.requests) == 1


async def test_our_caller_finds_out_that_its_node_has_vanished_without_a_word(
    nodes: list[NodeProcess], balanced: Balanced, answers: OpenAiStandin
) -> None:
    answers.answer = lambda _: "Yes."
    async with call(balanced.url, token(), resumes=True) as caller:
        await caller.say(speech_from(QUESTION))
        await balanced.joined()
        nodes[0].process.send_signal(signal.SIGSTOP)  # it answers nothing, and closes nothing
        await nodes[1].until(lambda: nodes[1].metric("voice_calls_resumed_total") == 1, seconds=30.0)
        assert (await caller.say(speech_from(QUESTION))).answered == "Yes."
        nodes[0].process.kill()


async def test_our_caller_moves_and_its_node_need_not_wait_for_the_end_of_the_call(
    nodes: list[NodeProcess], balanced: Balanced, answers: OpenAiStandin
) -> None:
    answers.answer = lambda _: "Yes."
    changes: list[Change] = []
    async with call(balanced.url, token(), resumes=True, wire=BINARY, on_change=changes.append) as caller:
        assert (await caller.say(speech_from(QUESTION))).answered == "Yes."
        await balanced.joined()
        nodes[0].process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(nodes[0].process.wait, 15) == 0
        assert (await caller.say(speech_from(QUESTION))).answered == "Yes."
    assert heard(answers) == ["Yes."]
    assert [change.because for change in changes if isinstance(change, WentOn)] == ["moved"]


async def test_our_caller_stays_where_it_is_while_no_other_node_has_room(
    nodes: list[NodeProcess], balanced: Balanced, answers: OpenAiStandin
) -> None:
    answers.answer = lambda _: "Yes."
    async with call(balanced.url, token(), resumes=True) as caller:
        await caller.say(speech_from(QUESTION))
        nodes[0].process.send_signal(signal.SIGTERM)
        await nodes[0].until(lambda: nodes[0].metric("voice_calls_told_to_move_total") >= 1)
        assert (await caller.say(speech_from(QUESTION))).answered == "Yes."
        assert nodes[0].process.poll() is None


async def test_our_caller_calls_again_when_a_node_is_full(quick: dict[str, str], answers: OpenAiStandin) -> None:
    with running_node(**quick, VOICE_MAX_SESSIONS="1", VOICE_RETRY_AFTER_SECONDS="1") as node:
        async with live_call(node.websocket):
            with pytest.raises(CallRefused, match="503"):
                async with call(node.websocket):
                    pass
            waiting = call(node.websocket, resumes=True)
            entering = asyncio.create_task(waiting.__aenter__())
            await node.until(lambda: len(node.events("handshake_refused")) == 2)
        assert (await (await entering).say(speech_from(QUESTION))).status == "completed"
        await waiting.__aexit__(None, None, None)


@pytest.fixture(scope="module")
def example() -> Path:
    """The example's program, built."""
    node_js.install(EXAMPLE)
    node_js.npm(EXAMPLE, "run", "build")
    return EXAMPLE / "dist" / "main.js"


async def run_example(program: Path, url: str, heard: Path, *options: str) -> list[str]:
    variables: dict[str, Any] = {"VOICEFLEET_KEY": token()}
    told = await node_js.run(node_js.newest_node(), program, url, QUESTION, heard, *options, **variables)
    return told.splitlines()


@pytest.mark.parametrize(
    ("loss", "options"),
    [(signal.SIGKILL, ["--binary"]), (signal.SIGSTOP, [])],
    ids=["killed, binary", "gone without a word"],
)
async def test_the_example_hears_the_rest_of_an_answer_whose_node_is_lost(
    loss: signal.Signals,
    options: list[str],
    nodes: list[NodeProcess],
    balanced: Balanced,
    answers: OpenAiStandin,
    example: Path,
    tmp_path: Path,
) -> None:
    answers.answer = story
    running = asyncio.create_task(run_example(example, balanced.url, tmp_path / "heard.wav", *options))
    await is_in_a_story(nodes[0])
    await balanced.joined()
    nodes[0].process.send_signal(loss)
    lines = await running
    nodes[0].process.kill()
    assert lines[-2:] == ["the call goes on on another connection", f"assistant: {REST} (completed)"]
    assert STORY.startswith(heard(answers)[0])
    assert is_audible(read_wav(tmp_path / "heard.wav")[0])


async def test_the_example_moves(
    nodes: list[NodeProcess], balanced: Balanced, answers: OpenAiStandin, example: Path, tmp_path: Path
) -> None:
    # Long enough for another node to join, and the first to be told to go, while it is heard.
    hours = "We are open from nine in the morning until five in the afternoon, on every day of the week but Sunday."
    answers.answer = lambda _: hours
    running = asyncio.create_task(run_example(example, balanced.url, tmp_path / "heard.wav"))
    await is_answering(nodes[0])
    await balanced.joined()
    nodes[0].process.send_signal(signal.SIGTERM)
    lines = await running
    assert lines[-2:] == [f"assistant: {hours} (completed)", "the call goes on on another connection"]
    assert nodes[1].metric("voice_calls_resumed_total") == 1


class LostInAQuestion:
    """A node that tells of a turn, hears more of it and loses its connection; and the one where the call goes on."""

    def __init__(self) -> None:
        self.again = b""
        self._connections = 0

    async def serve(self, connection: ServerConnection) -> None:
        self._connections += 1
        first = json.loads(await connection.recv())
        await self._tell(connection, "session.updated", session={"audio": {"input": {"transcription": {}}}})
        if self._connections == 1:
            await self._tell(connection, "x_session.ticket", ticket="sealed")
            await self._audio(connection, 1.0)
            await self._tell(connection, "input_audio_buffer.speech_started", audio_start_ms=600)
            await self._audio(connection, 1.0)
            connection.transport.abort()
            return
        assert first["ticket"] == "sealed"
        self.again = await self._audio(connection, 1.0)
        await self._tell(connection, "conversation.item.input_audio_transcription.completed", transcript="And?")
        await self._tell(connection, "response.done", response={"status": "completed", "output": []})
        async for _ in connection:
            pass

    async def _tell(self, connection: ServerConnection, kind: str, **fields: Any) -> None:
        await connection.send(json.dumps({"type": kind, **fields}))

    async def _audio(self, connection: ServerConnection, seconds: float) -> bytes:
        """So much of what the caller says next."""
        audio = b""
        while len(audio) < seconds * WIRE_BYTES_PER_SECOND:
            said = await connection.recv()
            audio += said if isinstance(said, bytes) else b64decode(json.loads(said).get("audio", ""))
        return audio


@pytest.mark.parametrize("options", [[], ["--binary"]], ids=["base64", "binary"])
async def test_the_example_says_again_what_no_ticket_knows(options: list[str], example: Path, tmp_path: Path) -> None:
    node = LostInAQuestion()
    async with serve(node.serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        lines = await run_example(example, f"ws://127.0.0.1:{port}", tmp_path / "heard.wav", *options)
    assert "the call goes on on another connection" in lines
    samples, _ = read_wav(QUESTION)
    said = samples.tobytes()
    begun = round(0.6 * WIRE_BYTES_PER_SECOND)
    assert node.again == said[begun : begun + len(node.again)]
