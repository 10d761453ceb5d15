"""The calls of a soak: each is a small function that says in its first line what it does and how its call ends."""

import asyncio
import random
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager

from tests.bench.soak.doomed import call_a_function
from tests.support.clips import BUNDLED, read_wav
from tests.support.live_call import LiveCall, exchange, frame, handshake, live_call
from tests.support.openai_llm_standin import Answer, Stall, ToolCallAnswer
from tests.support.speech import resample

SHORT, LONG = "At nine.", "We are open every day from nine to six, and on Thursdays until eight in the evening."
RULES: Mapping[str, Answer] = {
    "tell me": LONG,
    "look it up": ToolCallAnswer("look_up", {"day": "Thursday"}),
    "think": Stall(),
    "hesitate": Stall(LONG),
}
"""How the language model's stand-in answers these words; anything else with `SHORT`."""

_QUESTION = resample(read_wav(BUNDLED / "pls-hold-while-try.wav"), 16_000, 24_000)
_NONSENSE = ("", "[]", "{", '{"type": "no.such"}', '{"type": "response.create", "response": 5}', "[" * 5000, b"\x00")
_WRONG_FRAMES: Mapping[int, bytes] = {
    1002: frame(3, b""),  # of a kind that there is not
    1007: frame(1, b"\xff"),  # no UTF-8
    1008: frame(9, b"") * 300,  # pings
    1009: bytes((0x81, 0xFF)) + (1 << 40).to_bytes(8) + bytes(4),  # as long as it says, a terabyte
}
"""By the close code for it."""

_PATIENCE = 30.0

Scene = Callable[[str], Awaitable[None]]


def _calling(url: str) -> AbstractAsyncContextManager[LiveCall]:
    return live_call(url, patience=_PATIENCE)


# --- calls that come to their end


async def talk(url: str) -> None:
    """Speaks, hears the whole answer, types, reads another and hangs up."""
    async with _calling(url) as call:
        await call.say(_QUESTION)
        await _answered(call)
        assert await call.ask("and in writing?") == SHORT


async def interrupt(url: str) -> None:
    """Speaks into an answer, and hears another."""
    async with _calling(url) as call:
        await call.type("tell me")
        await call.until("response.output_audio.delta")
        await call.say(_QUESTION)
        assert (await call.until("response.done"))["response"]["status"] == "cancelled"
        await _answered(call)


async def cancel(url: str) -> None:
    """Stops an answer by hand, again and again."""
    async with _calling(url) as call:
        for _ in range(5):
            await call.type("tell me")
            await call.until("response.output_audio.delta")
            await call.send("response.cancel")
            assert (await call.until("response.done"))["response"]["status"] == "cancelled"


async def use_a_tool(url: str) -> None:
    """Has a function called, and hears the answer to its result."""
    async with _calling(url) as call:
        call_id = await call_a_function(call)
        item = {"type": "function_call_output", "call_id": call_id, "output": "open"}
        await call.send("conversation.item.create", item=item)
        await call.send("response.create")
        await _answered(call)


async def send_nonsense(url: str) -> None:
    """Sends what no client should, is told so each time, and answered all the same."""
    async with _calling(url) as call:
        for message in _NONSENSE:
            await call.connection.send(message)
            await call.error()
        assert await call.ask("still there?") == SHORT


# --- calls that end in the middle of something, each by one of the ways that there are


async def leave_at_once(url: str) -> None:
    """Is gone before it has said anything."""
    async with _calling(url) as call:
        call.reset()


async def leave_while_speaking(url: str) -> None:
    """Is gone in the middle of a sentence."""
    async with _calling(url) as call:
        await call.say(_QUESTION[: len(_QUESTION) // 4 * 2], silence=0.0)
        await call.until("input_audio_buffer.speech_started")
        call.reset()


async def leave_as_the_turn_ends(url: str) -> None:
    """Is gone at a random moment after its question: it is being recognised, answered on a chance, or answered."""
    async with _calling(url) as call:
        await call.update(audio={"input": {"turn_detection": {"type": "semantic_vad"}}})
        await call.say(_QUESTION, silence=random.uniform(0.2, 1.0))
        await asyncio.sleep(random.uniform(0.0, 0.5))
        call.reset()


async def leave_before_the_first_word(url: str) -> None:
    """Hangs up while the language model thinks."""
    async with _calling(url) as call:
        await call.type("think")
        await call.until("response.created")


async def leave_in_an_answer(url: str) -> None:
    """Is gone while it is being answered, or hangs up with a code of its own."""
    for words in ("tell me", "hesitate"):
        async with _calling(url) as call:
            await call.type(words)
            await call.until("response.output_audio.delta")
            call.reset() if words == "hesitate" else await call.connection.close(4000, "enough")


async def leave_in_a_tool_call(url: str) -> None:
    """Is gone while the result of a function is waited for."""
    async with _calling(url) as call:
        await call_a_function(call)
        call.reset()


async def break_the_rules(url: str) -> None:
    """Is hung up on in the middle of an answer, for each kind of wrong frame."""
    for code, wrong in _WRONG_FRAMES.items():
        async with _calling(url) as call:
            await call.type("tell me")
            await call.until("response.output_audio.delta")
            await call.send_bytes(wrong)
            assert await call.closed() == code


async def be_killed(url: str) -> None:
    """Is a process with several calls that ends by SIGKILL."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.soak.doomed", url, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    try:
        assert await process.stdout.readline() == b"calling\n"
    finally:
        process.kill()
        await process.wait()


async def be_refused(url: str) -> None:
    """Comes with half a handshake, and then to a path that there is not."""
    assert (await exchange(url, handshake(url, Sec_WebSocket_Key=""))).startswith(b"HTTP/1.1 400 ")
    elsewhere = url.replace("/v1/", "/v2/")
    assert (await exchange(elsewhere, handshake(elsewhere))).startswith(b"HTTP/1.1 404 ")


SCENES: tuple[Scene, ...] = (
    talk, interrupt, cancel, use_a_tool, send_nonsense, leave_at_once, leave_while_speaking, leave_as_the_turn_ends,
    leave_before_the_first_word, leave_in_an_answer, leave_in_a_tool_call, break_the_rules, be_killed, be_refused,
)  # fmt: skip


async def _answered(call: LiveCall) -> None:
    """Wait for an answer that nobody stops; a pause in the question may have begun another before."""
    while (await call.until("response.done"))["response"]["status"] != "completed":
        pass
