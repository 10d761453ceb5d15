"""A session's life on a node: it may change in the middle, and leaves nothing behind, however it ends."""

import asyncio
from base64 import b64decode
from collections.abc import Awaitable, Callable

import pytest

from tests.support.live_call import LiveCall, live_call
from tests.support.node import NodeProcess
from tests.support.openai_llm_standin import OpenAiStandin, Stall

pytestmark = pytest.mark.usefixtures("no_error_logged")

LONG = "This is the first sentence of a long answer. " + "And this is one of many more that follow it. " * 20


async def vanish(call: LiveCall) -> None:
    call.reset()


async def hang_up(call: LiveCall) -> None:
    await call.connection.close()


async def cancel(call: LiveCall) -> None:
    await call.send("response.cancel")
    response = (await call.until("response.done"))["response"]
    assert (response["status"], response["status_details"]["reason"]) == ("cancelled", "client_cancelled")


async def clear(call: LiveCall) -> None:
    await call.send("output_audio_buffer.clear")
    await call.until("output_audio_buffer.cleared")


@pytest.mark.parametrize("end", [vanish, hang_up, cancel, clear])
async def test_an_answer_that_nobody_wants_any_more_frees_the_model_and_the_voice(
    node: NodeProcess, answers: OpenAiStandin, end: Callable[[LiveCall], Awaitable[None]]
) -> None:
    answers.answer = lambda _: Stall(LONG)
    cancelled = answers.cancelled
    async with live_call(node.websocket) as call:
        await call.type("tell me everything")
        await call.until("response.output_audio.delta")
        assert answers.cancelled == cancelled
        await end(call)
        await node.until(lambda: answers.cancelled == cancelled + 1, seconds=5.0)
        await node.until(lambda: node.metric("voice_queue_depth", queue="tts") == 0, seconds=5.0)


async def test_a_caller_who_leaves_before_the_first_token_frees_the_model(
    node: NodeProcess, answers: OpenAiStandin
) -> None:
    answers.answer = lambda _: Stall()
    requests, cancelled = len(answers.requests), answers.cancelled
    async with live_call(node.websocket) as call:
        await call.type("think hard")
        await node.until(lambda: len(answers.requests) == requests + 1)
    await node.until(lambda: answers.cancelled == cancelled + 1, seconds=5.0)


async def test_a_long_text_is_written_to_its_end_however_fast_the_model_is(node: NodeProcess) -> None:
    async with live_call(node.websocket) as call:
        text = " ".join(["word"] * 500)
        assert await call.ask(text) == f"You said: {text}"


async def test_log_lines_bear_the_ids_of_their_own_session_and_turn(node: NodeProcess) -> None:
    async def visit() -> tuple[str, str]:
        async with live_call(node.websocket) as call:
            response = await call.turn("one two three")
            return call.events[0]["session"]["id"], response["id"]

    turns = dict(await asyncio.gather(*(visit() for _ in range(5))))
    await node.until(lambda: turns.keys() <= {line["session_id"] for line in node.events("session_ended")})
    ended = {line["session_id"]: line["turn_id"] for line in node.events("answer_ended")}
    assert turns.items() <= ended.items()


async def test_the_formats_may_change_in_mid_call(node: NodeProcess) -> None:
    seconds = []
    async with live_call(node.websocket) as call:
        for output, bytes_per_second in (
            ({"type": "audio/pcm", "rate": 24000}, 48000),
            ({"type": "audio/pcmu"}, 8000),
            ({"type": "audio/pcm", "rate": 8000}, 16000),
            ({"type": "audio/pcma"}, 8000),
            ({"type": "audio/pcm", "rate": 48000}, 96000),
        ):
            updated = await call.update(audio={"output": {"format": output}})
            assert updated["session"]["audio"]["output"]["format"] == output
            before = len(call.events)
            await call.turn("one two three")
            deltas = [event for event in call.events[before:] if event["type"] == "response.output_audio.delta"]
            seconds.append(sum(len(b64decode(delta["delta"])) for delta in deltas) / bytes_per_second)
    assert seconds == pytest.approx([seconds[0]] * 5, abs=0.02)
    assert seconds[0] > 1
