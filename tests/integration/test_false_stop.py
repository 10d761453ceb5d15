"""An answer that a voice without words has stopped goes on with the sample after the last one that was heard."""

import asyncio
from base64 import b64decode
from collections.abc import Sequence

import numpy as np

from tests.support.live_call import Event, LiveCall, live_call
from tests.support.node import quick_speech, running_node
from tests.support.openai_llm_standin import OpenAiStandin
from tests.support.speech import resample, speak

_STORY = (
    "Once upon a time there was a farmer who had three sons and a mill. The eldest went to sea, and never came back."
)
_RATE = 24_000
_HEARD = 1.0  # seconds


def audio_of(events: Sequence[Event], response_id: str) -> np.ndarray:
    """All samples of a response."""
    deltas = [event for event in events if event["type"] == "response.output_audio.delta"]
    pcm = b"".join(b64decode(event["delta"]) for event in deltas if event["response_id"] == response_id)
    return np.frombuffer(pcm, "<i2")


def said(response: Event) -> str:
    """The transcript of its one message."""
    return str(response["output"][0]["content"][0]["transcript"])


async def stopped(call: LiveCall) -> Event:
    """A voice is heard over the story, and the client stops after a second of it; gives the response."""
    await call.type("Tell me a story.")
    await call.until("response.output_audio.delta")
    await asyncio.sleep(_HEARD + 0.3)
    voice = resample(await speak("I would like to know how long that story is going to be."), 16_000, _RATE)
    await call.say(voice, silence=0.0)
    item_id = (await call.until("response.output_item.done"))["item"]["id"]
    await call.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=round(1000 * _HEARD))
    await call.say(b"", silence=1.0)  # only now is the voice over, and the answer may go on
    return dict((await call.until("response.done"))["response"])


async def test_it_goes_on_with_the_next_sample_and_nobody_is_asked_for_the_rest(answers: OpenAiStandin) -> None:
    # livekit/agents#4039, #1229: a pause that never resumes
    answers.answer = lambda _: _STORY
    model = f"openai:standin@{answers.url}"
    with quick_speech("--transcript", "") as speech, running_node(VOICE_LLM=model, **speech) as node:
        async with live_call(node.websocket) as call:
            broken_off = await stopped(call)
            assert broken_off["status_details"]["reason"] == "turn_detected"
            rest = (await call.until("response.done"))["response"]
    assert rest["status"] == "completed"
    before, after = (audio_of(call.events, response["id"]) for response in (broken_off, rest))
    sent_in_vain = before[round(_HEARD * _RATE) :]
    assert len(sent_in_vain) > 0.1 * _RATE
    assert np.array_equal(after[: len(sent_in_vain)], sent_in_vain)
    assert _STORY.endswith(said(rest))
    assert 10 < len(_STORY) - len(said(rest)) < 30  # a second's words
    assert len(answers.requests) == 1


async def test_after_a_real_interruption_the_model_is_stopped_at_once(answers: OpenAiStandin) -> None:
    """Its tokens cost money, and the application may never ask for another answer."""
    answers.answer, answers.token_seconds = (lambda _: " ".join([_STORY] * 50)), 0.02
    model = f"openai:standin@{answers.url}"
    with quick_speech("--transcript", "stop that") as speech, running_node(VOICE_LLM=model, **speech) as node:
        async with live_call(node.websocket) as call:
            await call.update(audio={"input": {"turn_detection": {"type": "server_vad", "create_response": False}}})
            await stopped(call)
            await answers.until(lambda standin: standin.cancelled == 1)
            await call.update()
    assert len(answers.requests) == 1
