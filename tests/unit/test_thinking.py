"""What model and voice do before anybody takes it: the first clause is spoken ahead, and goes where the answer goes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import grpc
import pytest

from server.conversation.commands import Generate, Speculate
from server.conversation.config import ResponseConfig
from server.conversation.response import Response
from server.held_answer import HeldAnswer, Outcome
from server.llm.interface import ChatRequest, Finished, LlmError, TextDelta, Usage
from server.llm.model import Model
from server.llm_processor import LlmProcessor
from server.observability.metrics import REGISTRY
from server.observability.waterfall import Waterfall
from server.thinking import Clause, Rest, Thinking
from server.tts_processor import TtsError, TtsProcessor
from server.workers.speech_pb2 import AudioChunk, Progress
from tests.support.scripted_model import ScriptedModel
from tests.support.scripted_voice import Script, ScriptedVoice, served

_SECOND = bytes(48_000)
_REQUEST = ChatRequest("Be brief.", [])
_CONFIG = ResponseConfig(voice="bert", speed=1.25)


async def _one_second(attempt: int, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
    yield _SECOND


async def _two_seconds_and_on(attempt: int, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
    """The first clause has no end."""
    yield _SECOND
    yield _SECOND
    if attempt == 0:
        await asyncio.Event().wait()


async def _dies(attempt: int, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
    await context.abort(grpc.StatusCode.INTERNAL, "the device failed")
    yield b""


@dataclass
class _Parts:
    thinking: Thinking
    model: ScriptedModel
    voice: ScriptedVoice

    @property
    def spoken(self) -> list[str]:
        """What the voice was asked for so far."""
        return [request.text for request in self.voice.requests]

    async def clause(self) -> Clause:
        piece = await self.thinking.pieces.get()
        assert isinstance(piece, Clause)
        return piece


@asynccontextmanager
async def _thinking(script: Script = _one_second, config: ResponseConfig = _CONFIG) -> AsyncIterator[_Parts]:
    model, voice = ScriptedModel(), ScriptedVoice(script)
    async with (
        served(voice) as address,
        TtsProcessor(address) as tts,
        asyncio.TaskGroup() as tasks,
        asyncio.timeout(10),
    ):
        llm = LlmProcessor([Model("scripted", model, 10.0)], max_tokens=512)
        thinking = Thinking(llm, tts.session(), Waterfall(0.0)).start(tasks, _REQUEST, config)
        yield _Parts(thinking, model, voice)
        thinking.stop()


async def _until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(0.01)


async def _heard(clause: Clause) -> bytes:
    return b"".join([pcm async for pcm in clause.audio])


async def test_the_first_clause_is_spoken_before_anybody_takes_it_and_the_next_once_somebody_listens() -> None:
    async with _thinking() as parts:
        parts.model.write(TextDelta("It is sunny today. It will rain tomorrow. And "))
        await _until(lambda: parts.spoken and parts.thinking.pieces.qsize() == 2)
        first, second = await parts.clause(), await parts.clause()
        assert parts.spoken == ["It is sunny today."]
        assert await _heard(first) == _SECOND
        await _until(lambda: len(parts.spoken) == 2)
        assert await _heard(second) == _SECOND
        assert parts.spoken == ["It is sunny today.", "It will rain tomorrow."]
        assert {(request.voice, request.speed) for request in parts.voice.requests} == {("bert", 1.25)}


async def test_an_answer_that_nobody_wants_frees_the_voice() -> None:
    async with _thinking(_two_seconds_and_on) as parts:
        parts.model.write(TextDelta("It is sunny today. And "))
        await _until(lambda: parts.spoken)
        parts.thinking.stop()
        await parts.voice.left.wait()


async def test_words_that_are_taken_back_are_not_spoken_and_those_after_them_are_begun() -> None:
    async with _thinking(_two_seconds_and_on) as parts:
        parts.model.write(TextDelta("I should greet them. I am "))
        await _until(lambda: parts.spoken)
        parts.model.write(TextDelta("an assistant.</think>Good morning. How are you? I "))
        await parts.voice.left.wait()
        await _until(lambda: len(parts.spoken) == 2)
        clauses = [await parts.clause(), await parts.clause()]
        assert [clause.text for clause in clauses] == ["Good morning.", "How are you?"]
        assert await _heard(clauses[0]) == 2 * _SECOND
        assert parts.spoken == ["I should greet them.", "Good morning."]


async def test_what_was_broken_off_goes_on_as_it_was_drawn_and_what_follows_is_asked_for_after_it() -> None:
    drawn = Progress(tokens=[7, 8, 9])

    async def draws(attempt: int, context: grpc.aio.ServicerContext) -> AsyncIterator[AudioChunk]:
        yield AudioChunk(pcm=_SECOND, progress=drawn)
        if attempt == 0:
            await asyncio.Event().wait()

    async with _thinking(draws) as parts:
        parts.model.write(TextDelta("It is sunny today. It will rain tomorrow. And "))
        broken_off = await parts.clause()
        await anext(broken_off.audio)
        await _until(lambda: parts.thinking.pieces.qsize() == 1)
        rest = Rest("today.", broken_off.voiced, broken_off.rendition, skipped=0.5)
        parts.thinking.go_on([rest], None, Waterfall(0.0))
        await parts.voice.left.wait()
        assert [await _heard(await parts.clause()) for _ in range(2)] == [_SECOND] * 2
        _, again, after = parts.voice.requests
        assert (again.skip_samples, again.progress, again.needed_in_seconds) == (12_000, drawn, 0.0)
        assert (after.text, after.skip_samples) == ("It will rain tomorrow.", 0)


async def test_what_is_being_heard_can_not_be_taken_back() -> None:
    goes_on = asyncio.Event()

    async def waits(attempt: int, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        yield _SECOND
        await goes_on.wait()
        yield _SECOND

    async with _thinking(waits) as parts:
        parts.model.write(TextDelta("I should greet them. I am "))
        heard = await parts.clause()
        assert await anext(heard.audio) == _SECOND
        parts.model.write(TextDelta("an assistant.</think>Good morning. How "))
        assert (await parts.clause()).text == "Good morning."
        goes_on.set()
        assert await _heard(heard) == _SECOND


async def test_a_voice_that_fails_ahead_fails_only_for_who_listens() -> None:
    async with _thinking(_dies) as parts:
        parts.model.write(TextDelta("It is sunny today."), Finished("stop"))
        await _until(lambda: parts.thinking.pieces.qsize() == 2)
        await parts.voice.left.wait()
        assert not parts.thinking.failed
        with pytest.raises(TtsError, match="INTERNAL"):
            await _heard(await parts.clause())


async def test_what_is_to_be_read_asks_no_voice() -> None:
    async with _thinking(config=ResponseConfig(modality="text")) as parts:
        parts.model.write(TextDelta("It is sunny today. "), TextDelta("It will rain."), Finished("stop"))
        pieces = [await parts.thinking.pieces.get() for _ in range(3)]
        assert pieces == [TextDelta("It is sunny today."), TextDelta(" It will rain."), Finished("stop")]
        assert parts.spoken == []


# --- what becomes of an answer that was begun before the turn was over

_SPECULATE = Speculate("item_1", _CONFIG, _REQUEST, text_bytes=40, input_tokens=25)


def _generate(**other: Any) -> Generate:
    return Generate(Response("resp_1", replace(_CONFIG, **other)), _REQUEST, 40)


def _counts() -> dict[str, float]:
    names = {"voice_speculations_total", "voice_speculation_wasted_tokens_total"}
    samples = [sample for family in REGISTRY.collect() for sample in family.samples]
    speech = "voice_speculation_wasted_seconds_total", "speech"
    return {
        value: sample.value
        for sample in samples
        for value in sample.labels.values()
        if sample.name in names or (sample.name, value) == speech
    }


@asynccontextmanager
async def _held() -> AsyncIterator[tuple[HeldAnswer, _Parts]]:
    async with _thinking() as parts:
        held = HeldAnswer()
        held.hold(_SPECULATE, parts.thinking)
        yield held, parts


@asynccontextmanager
async def _counting(**expected: float) -> AsyncIterator[None]:
    before = _counts()
    yield
    assert {name: value - before[name] for name, value in _counts().items() if value != before[name]} == expected


async def test_what_was_foreseen_is_let_through_once_and_costs_nothing_extra() -> None:
    async with _held() as (held, parts), _counting(used=1):
        assert held.let_through(_generate()) is parts.thinking
        assert held.let_through(_generate()) is None
        held.close()
        parts.model.write(TextDelta("It is sunny today. And "))
        assert await _heard(await parts.clause()) == _SECOND


async def test_what_nobody_wants_is_counted_in_tokens_and_in_seconds_of_speech() -> None:
    async with _held() as (held, parts):
        parts.model.write(TextDelta("It is sunny today. And "))
        await _until(lambda: parts.thinking.spent(0.0).speech_seconds == 1.0)
        async with _counting(resumed=1, input=25, output=6, speech=1.0):
            held.resumed("item_0")
            assert parts.thinking.pieces.qsize() == 1
            held.resumed("item_1")
            assert held.let_through(_generate()) is None


async def test_what_the_model_counted_itself_is_not_estimated() -> None:
    async with _held() as (held, parts):
        parts.model.write(Finished("stop", Usage(input_tokens=1000, output_tokens=100)))
        await parts.thinking.pieces.get()
        async with _counting(ended=1, input=1000, output=100):
            held.close()


@pytest.mark.parametrize("other", [{"voice": "anna"}, {"modality": "text"}])
async def test_what_was_not_foreseen_is_not_let_through(other: dict[str, Any]) -> None:
    async with _held() as (held, _), _counting(changed=1, input=25):
        assert held.let_through(_generate(**other)) is None


async def test_a_model_that_failed_ahead_is_to_be_asked_again() -> None:
    async with _held() as (held, parts), _counting(failed=1, input=25):
        parts.model.write(LlmError("timeout", "no answer"))
        await parts.thinking.pieces.get()
        assert held.let_through(_generate()) is None


async def test_newer_words_take_the_place_of_those_before() -> None:
    outcomes: list[Outcome] = ["changed", "used"]
    async with _held() as (held, _), _thinking() as newer, _counting(**dict.fromkeys(outcomes, 1), input=25):
        held.hold(_SPECULATE, newer.thinking)
        assert held.let_through(_generate()) is newer.thinking
