"""Audio as binary messages over a real socket, both ways: `?audio=binary`. Stand-ins for speech and model.

How such a call outlives its node is in `test_resuming_clients.py`, beside those with base64.
"""

import asyncio
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.audio.formats import AudioFormat
from server.client.caller import Turn, call, speech_from
from server.client.playout import is_audible
from server.client.transcripts import words
from server.client.wire import Wire
from tests.support.live_call import LiveCall, live_call, refusal
from tests.support.node import NodeProcess, running_node
from tests.support.openai_llm_standin import OpenAiStandin
from tests.support.strict_client import StrictClient

BINARY = "?audio=binary"
QUESTION = Path(__file__).parents[2] / "server" / "demo" / "question.wav"


@pytest.fixture(scope="module")
def quick_node(quick: dict[str, str]) -> Iterator[NodeProcess]:
    with running_node(**quick, VOICE_AUDIO_RATE="1", VOICE_AUDIO_BURST_SECONDS="10") as running:
        yield running


def audio_of(live: LiveCall) -> bytes:
    """What came of answers as base64."""
    return b"".join(b64decode(told["delta"]) for told in live.events if told["type"] == "response.output_audio.delta")


async def test_an_answer_comes_as_its_bare_audio_between_the_events_that_frame_it(
    quick_node: NodeProcess, answers: OpenAiStandin
) -> None:
    answers.answer = lambda _: "Yes, we are open."
    async with live_call(quick_node.websocket) as plain, live_call(quick_node.websocket + BINARY) as binary:
        for live in (plain, binary):
            await live.turn("Are you open?")
        assert (binary.audio, audio_of(binary)) == (audio_of(plain), b"")
        assert len(binary.audio) > 48_000
        kinds = [told["type"] for told in plain.events if told["type"] != "response.output_audio.delta"]
        assert [told["type"] for told in binary.events] == kinds


async def test_each_binary_message_is_of_the_one_spoken_part_that_is_open_however_many_answers_there_are(
    quick_node: NodeProcess, answers: OpenAiStandin
) -> None:
    answers.answer = lambda request: (
        "Aside." if "aside" in str(request["messages"]) else "One two three. Four five six."
    )
    aside = {"conversation": "none", "instructions": "Speak aside."}
    client = StrictClient()
    async with live_call(quick_node.websocket + BINARY, greeted=False) as live, asyncio.timeout(15.0):
        await live.type("Count.")
        await live.send("response.create", response=aside)
        await live.send("response.create", response=aside | {"output_modalities": ["text"]})
        while len(client.responses) < 3 or not all(response.done for response in client.responses.values()):
            message = await live.connection.recv()
            if isinstance(message, bytes):
                client.take_audio(message)
            else:
                client.take(message.encode())
    outputs = [response.outputs[0] for response in client.responses.values()]
    assert sorted((str(output.part), bool(output.audio)) for output in outputs) == [
        ("audio", True),
        ("audio", True),
        ("text", False),
    ]


async def test_our_caller_understands_and_is_understood_on_any_wire(node: NodeProcess, answers: OpenAiStandin) -> None:
    """Real recognition and a real voice: what reaches them is the audio that was sent."""
    answers.answer = lambda _: "Paris."
    question = speech_from(QUESTION)

    async def ask(wire: Wire) -> Turn:
        async with call(node.websocket, wire=wire) as caller:
            return await caller.say(question)

    ulaw = AudioFormat.of("audio/pcmu")
    for turn in await asyncio.gather(*map(ask, (Wire(binary=True), Wire(ulaw), Wire(ulaw, binary=True)))):
        assert words(turn.heard) == words("What is the capital city of France?")
        assert turn.answered == "Paris."
        assert is_audible(turn.playout.samples)
        assert 0.3 < len(turn.playout.samples) / turn.playout.rate < 3.0


async def test_audio_that_comes_too_fast_is_refused_as_in_events(quick_node: NodeProcess) -> None:
    met = quick_node.metric("voice_limits_met_total", limit="audio_rate")
    async with live_call(quick_node.websocket + BINARY) as live:
        await live.connection.send(bytes(11 * 48_000))
        assert (await live.error())["code"] == "rate_limit_exceeded"
        assert await live.ask("ping") == "You said: ping"
    assert quick_node.metric("voice_limits_met_total", limit="audio_rate") == met + 1


async def test_another_way_for_audio_is_refused_by_name(quick_node: NodeProcess) -> None:
    refused = await refusal(f"{quick_node.websocket}?model=any&audio=opus")
    assert refused.status_code == 400
    assert refused.body == b"audio: got 'opus'; takes 'binary', for audio in binary messages, or nothing\n"
    assert quick_node.metric("voice_handshakes_refused_total", reason="audio") == 1
