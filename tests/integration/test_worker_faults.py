"""Workers and language models that die, stop or fail under a running node: calls go on, and the node recovers."""

import json
import os
import signal
from base64 import b64decode
from collections.abc import Iterator

import pytest

from server.client.transcripts import words
from server.spoken_lines import BUNDLED as BUNDLED_LINES
from tests.support.clips import BUNDLED, read_wav
from tests.support.live_call import LiveCall, answer_text, live_call
from tests.support.node import NodeProcess, running_node
from tests.support.openai_llm_standin import Answer, CutOff, OpenAiStandin, Raw, Refusal, Stall
from tests.support.speech import resample

QUESTION = "Press 6 to play the next message."
STORY = "The first one is short. The second takes a little longer. With the third it ends."


@pytest.fixture(scope="module")
def fragile(llm: OpenAiStandin) -> Iterator[NodeProcess]:
    """A node of real workers that a test may break; it gives its language model a second."""
    with running_node(VOICE_LLM=f"openai:standin@{llm.url}", VOICE_LLM_TIMEOUT_SECONDS="1") as running:
        yield running


@pytest.fixture(scope="module")
def question() -> bytes:
    """A spoken question, at 24 kHz."""
    return resample(read_wav(BUNDLED / "vm-next.wav"), 16_000, 24_000)


def strike(node: NodeProcess, worker: str, signum: signal.Signals = signal.SIGKILL) -> None:
    """Send the signal to the worker's present process."""
    pids = [event["pid"] for event in node.events("worker_started") if event["worker"] == worker]
    os.kill(pids[-1], signum)


def seconds_of_audio(call: LiveCall) -> float:
    """How much was spoken on the call so far (24 kHz PCM)."""
    deltas = [event["delta"] for event in call.events if event["type"] == "response.output_audio.delta"]
    return sum(len(b64decode(delta)) for delta in deltas) / 48_000


async def test_a_voice_that_dies_in_mid_answer_is_replaced_and_every_word_is_spoken(
    fragile: NodeProcess, answers: OpenAiStandin, question: bytes
) -> None:
    answers.answer = lambda _: STORY
    restarts = fragile.metric("voice_worker_restarts_total", worker="tts")
    async with live_call(fragile.websocket) as call:
        await call.turn("tell me")
        undisturbed = seconds_of_audio(call)
    async with (
        live_call(fragile.websocket) as call,
        live_call(fragile.websocket) as second,
        live_call(fragile.websocket) as bystander,
    ):
        for spoken in (call, second):
            await spoken.type("tell me")
            await spoken.until("response.output_audio.delta")
        strike(fragile, "tts")
        await fragile.until(lambda: "tts not serving" in fragile.get("/ready")[1])
        assert json.loads(fragile.get("/health")[1])["status"] == "degraded"
        assert await bystander.ask("ping") == STORY
        await bystander.update(output_modalities=["text"], audio={"input": {"transcription": {}}})
        await bystander.say(question)
        heard = await bystander.until("conversation.item.input_audio_transcription.completed")
        assert words(heard["transcript"]) == words(QUESTION)
        for spoken in (call, second):
            response = (await spoken.until("response.done"))["response"]
            assert response["status"] == "completed"
            assert answer_text(response) == STORY
            assert seconds_of_audio(spoken) == pytest.approx(undisturbed, abs=0.3)
    await fragile.until(lambda: fragile.get("/ready")[0] == 200)
    assert json.loads(fragile.get("/health")[1])["parts"]["tts"]["serving"]
    assert fragile.metric("voice_worker_restarts_total", worker="tts") == restarts + 1
    assert fragile.metric("voice_worker_up", worker="tts") == 1


async def test_what_was_said_while_recognition_was_dead_is_still_heard(fragile: NodeProcess, question: bytes) -> None:
    restarts = fragile.metric("voice_worker_restarts_total", worker="stt")
    async with live_call(fragile.websocket) as call:
        await call.update(output_modalities=["text"], audio={"input": {"transcription": {}}})
        await call.say(question, silence=0.0)
        await call.until("input_audio_buffer.speech_started")
        strike(fragile, "stt")
        await call.say(b"")
        heard = await call.until("conversation.item.input_audio_transcription.completed")
        assert words(heard["transcript"]) == words(QUESTION)
        assert (await call.until("response.done"))["response"]["status"] == "completed"
    await fragile.until(lambda: fragile.get("/ready")[0] == 200)
    assert fragile.metric("voice_worker_restarts_total", worker="stt") == restarts + 1


async def test_a_voice_that_stops_without_dying_is_replaced(fragile: NodeProcess) -> None:
    restarts = fragile.metric("voice_worker_restarts_total", worker="tts")
    strike(fragile, "tts", signal.SIGSTOP)
    async with live_call(fragile.websocket) as call:
        assert await call.ask("ping") == "You said: ping"
        response = await call.turn("are you there")
        assert response["status"] == "completed"
        assert seconds_of_audio(call) > 1
    assert fragile.metric("voice_worker_restarts_total", worker="tts") == restarts + 1
    await fragile.until(lambda: fragile.get("/ready")[0] == 200)


@pytest.mark.parametrize(
    ("answer", "failure", "said"),
    [
        pytest.param(Refusal(500), "unavailable", "", id="500"),
        pytest.param(Refusal(429), "throttled", "", id="429"),
        pytest.param(Refusal(400), "invalid_request", "", id="400"),
        pytest.param(Stall(), "timeout", "", id="no first token"),
        pytest.param(Stall("To begin with. And then "), "timeout", "To begin with. And then", id="stall in the middle"),
        pytest.param(CutOff("To begin with. And "), "interrupted", "To begin with. And", id="cut off in the middle"),
        pytest.param(Raw(("{nonsense",)), "interrupted", "", id="nonsense"),
    ],
)
async def test_a_language_model_that_fails_costs_the_answer_and_not_the_call(
    fragile: NodeProcess, answers: OpenAiStandin, answer: Answer, failure: str, said: str
) -> None:
    errors = fragile.metric("voice_llm_errors_total", failure=failure)
    async with live_call(fragile.websocket) as call:
        answers.answer = lambda _: answer
        response = await call.turn("what now")
        assert response["status"] == "failed"
        assert response["status_details"]["error"]["code"] == failure
        line = BUNDLED_LINES["en"]["busy" if failure == "throttled" else "failed"]
        texts = [item["content"][0]["transcript"] for item in response["output"]]
        assert texts == ([said, line] if said else [line])
        assert seconds_of_audio(call) > 0
        assert json.loads(fragile.get("/health")[1])["parts"]["llm"]["serving"] is False
        assert fragile.get("/ready")[0] == 200
        answers.answer = lambda _: "All is well."
        assert await call.ask("and now") == "All is well."
        assert json.loads(fragile.get("/health")[1])["parts"]["llm"]["serving"] is True
    assert fragile.metric("voice_llm_errors_total", failure=failure) > errors


def test_none_of_it_was_an_error_of_the_gateways(fragile: NodeProcess) -> None:
    expected = {"worker_killed"}  # the stopped voice's
    assert {line["event"] for line in fragile.lines if line["level"] == "error"} <= expected
