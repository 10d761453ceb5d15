"""Sessions that only transcribe, on a real node: as PyPI `openai` opens them, and as stock STT services do."""

import time
from base64 import b64encode
from typing import Any

import pytest

from server.client.transcripts import words
from tests.support.live_call import live_call
from tests.support.node import NodeProcess
from tests.support.openai_caller import phoning
from tests.support.openai_llm_standin import OpenAiStandin
from tests.support.speech import resample, speak

QUESTION = "What is the weather in Paris?"
DELTA = "conversation.item.input_audio_transcription.delta"
COMPLETED = "conversation.item.input_audio_transcription.completed"
PCM = {"type": "audio/pcm", "rate": 24_000}


async def test_speech_becomes_words_and_nobody_answers(node: NodeProcess, answers: OpenAiStandin) -> None:
    async with phoning(node, type="transcription") as caller:
        created = caller.strict.received[0]["session"]
        assert (created["type"], created["object"]) == ("transcription", "realtime.transcription_session")
        assert abs(created["expires_at"] - time.time() - 7200) < 60
        await caller.say(await speak(QUESTION))
        transcript = await caller.heard()
        told = "".join(event["delta"] for event in caller.strict.received if event["type"] == DELTA)
        assert words(transcript) == words(told) == words(QUESTION)
        await caller.say(bytes(32_000))
    assert not [event for event in caller.strict.received if event["type"].startswith("response.")]
    assert answers.requests == []


async def test_a_turn_by_hand_comes_with_the_probabilities_of_its_tokens(
    node: NodeProcess, answers: OpenAiStandin
) -> None:
    include = ["item.input_audio_transcription.logprobs"]
    async with phoning(node, type="transcription", turn_detection=None, include=include) as caller:
        await caller.append(await speak(QUESTION))
        await caller.connection.input_audio_buffer.commit()
        completed = await caller.next(COMPLETED)
    assert words(completed["transcript"]) == words(QUESTION)
    said = b"".join(bytes(each["bytes"]) for each in completed["logprobs"])
    assert said.decode().strip() == completed["transcript"]
    assert all(-5 < each["logprob"] <= 0 for each in completed["logprobs"])
    assert answers.requests == []


# What they send at first: pipecat-ai 1.14 (`OpenAIRealtimeSTTService`), livekit-plugins-openai 1.8 (`STT`).
STOCK: dict[str, dict[str, Any]] = {
    "pipecat": {
        "format": PCM,
        "transcription": {"model": "gpt-realtime-whisper", "language": "en"},
        "turn_detection": None,
    },
    "livekit": {
        "format": PCM,
        "transcription": {"model": "gpt-4o-mini-transcribe", "language": "en"},
        "turn_detection": {
            "type": "server_vad",
            "threshold": 0.5,
            "prefix_padding_ms": 600,
            "silence_duration_ms": 350,
        },
    },
}


@pytest.mark.parametrize("client", STOCK)
async def test_stock_services_find_what_they_expect(node: NodeProcess, client: str) -> None:
    audio = resample(await speak(QUESTION) + bytes(32_000), 16_000, 24_000)
    async with live_call(f"{node.websocket}?intent=transcription&model=gpt-4o-mini-transcribe") as call:
        await call.send("session.update", session={"type": "transcription", "audio": {"input": STOCK[client]}})
        await call.until("session.updated")
        await call.send("input_audio_buffer.append", audio=b64encode(audio).decode())
        if client == "pipecat":
            await call.send("input_audio_buffer.commit")
        completed = await call.until(COMPLETED)
        assert words(completed["transcript"]) == words(QUESTION)
    kinds = [event["type"] for event in call.events]
    assert "error" not in kinds
    if client == "livekit":
        assert kinds.index("input_audio_buffer.speech_started") < kinds.index("input_audio_buffer.speech_stopped")
