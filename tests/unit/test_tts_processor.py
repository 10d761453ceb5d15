"""The gateway's side of speech synthesis, against workers that misbehave."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import grpc
import pytest

from server import tts_processor
from server.observability import metrics
from server.tts_processor import TtsError, TtsProcessor
from server.workers import balancing, clause_audio, speech_pb2, tts_pool
from server.workers.rendition import Rendition
from tests.support.scripted_voice import Script, ScriptedVoice, served

_SPEECH = bytes(range(200)) * 10
_CHUNKS = [_SPEECH[start : start + 400] for start in range(0, len(_SPEECH), 400)]


@asynccontextmanager
async def _connected(script: Script, default_voice: str = "") -> AsyncIterator[tuple[TtsProcessor, ScriptedVoice]]:
    worker = ScriptedVoice(script)
    async with served(worker) as address, TtsProcessor(address, default_voice=default_voice) as processor:
        yield processor, worker


@asynccontextmanager
async def _two(first: ScriptedVoice, second: ScriptedVoice) -> AsyncIterator[TtsProcessor]:
    """Both well, and the first to be asked next."""
    async with served(first) as one, served(second) as two, TtsProcessor(one, two) as processor:
        await _until(lambda: all(processor.pool.workers.values()))
        yield processor


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)


async def _well(attempt: int, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
    for chunk in _CHUNKS:
        yield chunk


async def _say(processor: TtsProcessor, voice: str = "") -> bytes:
    return b"".join([pcm async for pcm in processor.synthesize("Hello.", voice)])


def _errors() -> float:
    return metrics.REGISTRY.get_sample_value("voice_speech_errors_total", {"part": "tts"}) or 0.0


def _retries() -> float:
    return metrics.REGISTRY.get_sample_value("voice_worker_retries_total", {"worker": "tts"}) or 0.0


async def test_what_the_engine_can_do_is_known_once_connected() -> None:
    async with _connected(_well) as (processor, _):
        assert processor.sample_rate == 24_000
        assert processor.voices == {"anna", "bert"}


@pytest.mark.parametrize(
    ("asked", "default", "spoken"),
    [
        ("bert", "anna", "bert"),
        ("alloy", "anna", "anna"),
        ("", "anna", "anna"),
        ("alloy", "", ""),
        ("alloy", "nobody", ""),
    ],
)
async def test_a_voice_that_the_engine_lacks_is_replaced(asked: str, default: str, spoken: str) -> None:
    async with _connected(_well, default) as (processor, worker):
        assert await _say(processor, asked) == _SPEECH
        assert worker.requests[0].voice == spoken


async def test_text_with_nothing_to_speak_is_no_error() -> None:
    async def silent(attempt: int, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        for chunk in list[bytes]():
            yield chunk

    async with _connected(silent) as (processor, _):
        assert await _say(processor) == b""


async def test_a_recording_gives_way_to_callers_and_needs_no_voice_from_then_on() -> None:
    async with _connected(_well) as (processor, worker):
        await _say(processor)
        await processor.record("Hello.")
        said, recorded = worker.requests
        assert said.needed_in_seconds == 0.0
        assert 20.0 < recorded.needed_in_seconds <= 30.0
        assert processor.recorded("Hello.") == _SPEECH
        assert processor.recorded("Goodbye.") is None


async def test_a_sentence_goes_on_where_the_worker_died() -> None:
    async def dies_once(attempt: int, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        for chunk in _CHUNKS[:2] if attempt == 0 else _CHUNKS[2:]:
            yield chunk
        if attempt == 0:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

    before = _retries()
    async with _connected(dies_once) as (processor, worker):
        assert await _say(processor) == _SPEECH
    assert [request.skip_samples for request in worker.requests] == [0, 400]
    assert _retries() == before + 1


async def test_what_the_worker_that_died_had_drawn_is_handed_to_the_next() -> None:
    told = [speech_pb2.Progress(piece=0, tokens=[5, 6]), speech_pb2.Progress(piece=1, samples=200, tokens=[7])]

    async def dies_once(attempt: int, context: grpc.aio.ServicerContext) -> AsyncIterator[speech_pb2.AudioChunk]:
        for pcm, progress in zip(_CHUNKS[2 * attempt :], told, strict=False):
            yield speech_pb2.AudioChunk(pcm=pcm, progress=progress)
        if attempt == 0:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

    async with _connected(dies_once) as (processor, worker):
        rendition = Rendition()
        chunks = processor.synthesize("Hello.", rendition=rendition)
        assert b"".join([pcm async for pcm in chunks]) == _SPEECH[: 4 * 400]
        assert [request.progress for request in worker.requests] == [speech_pb2.Progress(), told[1]]
        again = processor.synthesize("Hello.", skip_samples=150, rendition=rendition)  # where a caller broke in
        await anext(again)
        await again.aclose()
        assert worker.requests[2].progress == told[0]


async def test_a_worker_whose_pieces_are_of_another_clause_is_left() -> None:
    async def lies(attempt: int, context: grpc.aio.ServicerContext) -> AsyncIterator[speech_pb2.AudioChunk]:
        yield speech_pb2.AudioChunk(pcm=_SPEECH, progress=speech_pb2.Progress(samples=10**9 * (1 - attempt)))

    async with _connected(lies) as (processor, worker):
        assert await _say(processor) == _SPEECH
    assert len(worker.requests) == 2


async def test_a_worker_that_dies_twice_is_an_error() -> None:
    async def dies(attempt: int, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        yield _CHUNKS[0]
        await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

    before = _errors()
    async with _connected(dies) as (processor, worker):
        with pytest.raises(TtsError) as raised:
            await _say(processor)
    assert raised.value.failure == "unavailable"
    assert len(worker.requests) == 2
    assert _errors() == before + 1, "once for the session, however often it was tried"


async def test_a_worker_that_stalls_is_left_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clause_audio, "LONGEST_GAP_SECONDS", 0.1)

    async def stalls(attempt: int, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        yield _CHUNKS[attempt]
        await asyncio.Event().wait()

    async with _connected(stalls) as (processor, worker):
        chunks = processor.synthesize("Hello.")
        assert [await anext(chunks), await anext(chunks)] == _CHUNKS[:2]
        with pytest.raises(TtsError) as raised:
            await anext(chunks)
        assert raised.value.failure == "timeout"
        assert worker.requests[1].skip_samples == len(_CHUNKS[0]) // 2


async def _busy(attempt: int, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
    await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "64 sentences are waiting already")
    yield b""


async def test_a_worker_that_stays_busy_is_an_error_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balancing, "BUSY_SECONDS", 0.4)
    before = _retries()
    async with _connected(_busy) as (processor, worker):
        with pytest.raises(TtsError, match="the worker answered RESOURCE_EXHAUSTED") as raised:
            await _say(processor)
    assert raised.value.failure == "busy"
    assert 2 <= len(worker.requests) <= 5
    assert _retries() == before, "nobody died"


async def test_a_clause_speaks_a_little_late_rather_than_not_at_all() -> None:
    async def busy_at_first(attempt: int, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        async for chunk in (_busy if attempt < 2 else _well)(attempt, context):
            yield chunk

    async with _connected(busy_at_first) as (processor, worker):
        assert await _say(processor) == _SPEECH
    assert len(worker.requests) == 3


async def test_a_caller_who_leaves_while_all_are_busy_is_not_waited_for() -> None:
    async with _connected(_busy) as (processor, worker):
        asking = asyncio.create_task(_say(processor))
        while not worker.requests:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.wait([asking], timeout=1)
        assert asking.cancelled()
        assert metrics.REGISTRY.get_sample_value("voice_queue_depth", {"queue": "tts"}) == 0


async def test_closing_the_stream_reaches_the_worker() -> None:
    async def talks_for_ever(attempt: int, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        while True:
            yield _CHUNKS[0]
            await asyncio.sleep(0.001)

    async with _connected(talks_for_ever) as (processor, worker):
        async with aclosing(processor.synthesize("Hello.")) as chunks:
            assert await anext(chunks) == _CHUNKS[0]
        async with asyncio.timeout(2):
            await worker.left.wait()
    assert metrics.REGISTRY.get_sample_value("voice_queue_depth", {"queue": "tts"}) == 0


# --- what a worker may say


async def _half_a_sample(attempt: int, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
    yield b"\0"


async def _nothing_for_ever(attempt: int, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
    while True:
        yield b""


async def _audio_for_ever(attempt: int, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
    while True:
        yield bytes(96_000)


@pytest.mark.parametrize("lie", [_half_a_sample, _nothing_for_ever, _audio_for_ever])
async def test_audio_that_can_not_be_is_a_failure_of_the_worker(lie: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balancing, "RESTART_SECONDS", 0.1)
    async with _connected(lie) as (processor, worker):
        with pytest.raises(TtsError, match="got ") as raised:
            await _say(processor)
        address = next(iter(processor.pool.workers))
        assert not processor.pool.balancer.usable(address) or len(worker.requests) == 2
    assert raised.value.failure == "unavailable"


async def test_a_clause_that_an_engine_can_not_say_is_left_out_and_the_worker_is_well() -> None:
    async def can_not(attempt: int, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the engine can't say this text")
        yield b""

    errors, retries = _errors(), _retries()
    async with _connected(can_not) as (processor, worker):
        assert await _say(processor) == b""
        assert processor.pool.balancer.usable(next(iter(processor.pool.workers)))
    assert len(worker.requests) == 1
    assert (_errors(), _retries()) == (errors, retries)


async def test_what_a_session_asks_for_counts_as_its_own() -> None:
    async with _connected(_well) as (processor, worker):
        for session in (processor.session(), processor.session()):
            for _ in range(2):
                assert b"".join([pcm async for pcm in session.synthesize("Hello.")]) == _SPEECH
    calls = [request.call for request in worker.requests]
    assert calls[0] == calls[1] != calls[2] == calls[3]
    assert all(calls)


@pytest.mark.parametrize(
    ("lie", "says"),
    [
        ({"sample_rate": 1}, "speaks at 1 Hz; takes 8000"),
        ({"sample_rate": 0}, "speaks at 0 Hz; takes 8000"),
        ({"sample_rate": 4_000_000_000}, "speaks at 4000000000 Hz; takes 8000"),
        ({"voices": ["v"] * 5000}, "5000 voices"),
    ],
)
async def test_a_worker_that_says_what_can_not_be_is_left_out(lie: dict[str, Any], says: str) -> None:
    with tempfile.TemporaryDirectory(prefix="voice") as folder:
        address = f"unix:{folder}/liar.sock"
        async with served(ScriptedVoice(_well)) as up, TtsProcessor(address, up) as processor:
            async with served(ScriptedVoice(_well, **lie), address):
                await _until(lambda: says in str(processor.pool.nobody_serves()))
            assert processor.pool.workers == {address: False, up: True}


# --- several workers


async def _dies(attempt: int, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
    yield _CHUNKS[0]
    yield _CHUNKS[1]
    await context.abort(grpc.StatusCode.INTERNAL, "the device failed")


async def _rest(attempt: int, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
    for chunk in _CHUNKS[2:]:
        yield chunk


async def test_clauses_are_shared_out() -> None:
    workers = ScriptedVoice(_well), ScriptedVoice(_well)
    async with _two(*workers) as processor:
        for _ in range(6):
            assert await _say(processor) == _SPEECH
    assert [len(worker.requests) for worker in workers] == [3, 3]


async def test_a_worker_with_a_clause_in_flight_is_asked_after_one_without() -> None:
    workers = ScriptedVoice(_well), ScriptedVoice(_well)
    async with _two(*workers) as processor, aclosing(processor.synthesize("Hello.")) as chunks:
        await anext(chunks)
        for _ in range(3):
            await _say(processor)
        labels = [{"worker": address} for address in processor.pool.workers]
        name = "voice_tts_worker_outstanding"
        assert [metrics.REGISTRY.get_sample_value(name, label) for label in labels] == [1, 0]
    assert [len(worker.requests) for worker in workers] == [1, 3]


async def test_the_rest_of_a_clause_comes_from_the_other_worker_at_once() -> None:
    before = _retries()
    second = ScriptedVoice(_rest)
    async with _two(ScriptedVoice(_dies), second) as processor:
        async with asyncio.timeout(2):
            assert await _say(processor) == _SPEECH
        assert [request.skip_samples for request in second.requests] == [400]
        assert all(processor.pool.workers.values()), "one failed stream makes no worker unfit"
    assert _retries() == before + 1


async def test_a_worker_that_hangs_is_left_for_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clause_audio, "LONGEST_GAP_SECONDS", 0.1)

    async def hangs(attempt: int, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        yield _CHUNKS[0]
        yield _CHUNKS[1]
        await asyncio.Event().wait()

    first = ScriptedVoice(hangs)
    async with _two(first, ScriptedVoice(_rest)) as processor:
        assert await _say(processor) == _SPEECH
        async with asyncio.timeout(2):
            await first.left.wait()


async def test_a_busy_worker_leaves_the_clause_to_the_other_at_once() -> None:
    before = _retries()
    second = ScriptedVoice(_well)
    async with _two(ScriptedVoice(_busy), second) as processor:
        async with asyncio.timeout(2):
            assert await _say(processor) == _SPEECH
    assert second.requests[0].skip_samples == 0
    assert _retries() == before


async def test_a_clause_that_every_worker_fails_is_an_error() -> None:
    workers = ScriptedVoice(_dies), ScriptedVoice(_dies)
    async with _two(*workers) as processor:
        with pytest.raises(TtsError, match=r"the worker answered INTERNAL$"):
            await _say(processor)
    assert [len(worker.requests) for worker in workers] == [1, 1]


async def test_a_worker_that_is_down_at_first_joins_when_it_serves() -> None:
    late = ScriptedVoice(_well)
    with tempfile.TemporaryDirectory(prefix="voice") as folder:
        address = f"unix:{folder}/late.sock"
        async with served(ScriptedVoice(_well)) as up, TtsProcessor(address, up) as processor:
            assert await _say(processor) == _SPEECH
            assert processor.pool.workers == {address: False, up: True}
            async with served(late, address):
                await _until(lambda: processor.pool.workers[address])
                await _say(processor), await _say(processor)
                assert late.requests
            await _until(lambda: not processor.pool.workers[address])
            assert await _say(processor) == _SPEECH


async def test_a_voice_is_known_if_every_worker_has_it() -> None:
    async with _two(ScriptedVoice(_well, ["anna", "bert"]), ScriptedVoice(_well, ["bert", "carl"])) as processor:
        assert processor.voices == {"bert"}


async def test_a_worker_with_another_sample_rate_is_left_out_and_said_to_be() -> None:
    odd = ScriptedVoice(_well, sample_rate=16_000)
    with tempfile.TemporaryDirectory(prefix="voice") as folder:
        address = f"unix:{folder}/odd.sock"
        async with served(ScriptedVoice(_well)) as up, TtsProcessor(address, up) as processor:
            assert processor.sample_rate == 24_000
            async with served(odd, address):
                await _until(lambda: "16000 Hz; takes 24000 Hz" in str(processor.pool.nobody_serves()))
                for _ in range(4):
                    assert await _say(processor) == _SPEECH
            assert processor.pool.workers == {address: False, up: True}
    assert not odd.requests


async def test_where_no_worker_serves_the_error_says_of_each_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tts_pool, "_START_SECONDS", 0.3)
    with pytest.raises(TtsError, match=r"no worker serves \(unix:/nowhere/a: .*; unix:/nowhere/b: .*\)") as raised:
        async with TtsProcessor("unix:/nowhere/a", "unix:/nowhere/b"):
            pass
    assert raised.value.failure == "unavailable"


def _clauses() -> tuple[float, float, float]:
    """Spoken, of those in time, and late."""
    sample = metrics.REGISTRY.get_sample_value
    return (
        sample("voice_clause_lateness_seconds_count") or 0.0,
        sample("voice_clause_lateness_seconds_bucket", {"le": "0.0"}) or 0.0,
        sample("voice_late_clauses_total") or 0.0,
    )


@pytest.mark.parametrize(
    ("needed_in", "patience", "in_time"),
    [(60.0, -90.0, True), (60.0, -30.0, True), (0.0, 60.0, True), (-30.0, 60.0, True), (0.0, -30.0, False)],
)
async def test_a_clause_is_late_if_it_comes_after_it_was_needed_and_not_soon_after_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, needed_in: float, patience: float, in_time: bool
) -> None:
    monkeypatch.setattr(tts_processor, "FIRST_AUDIO_SECONDS", patience)
    before = _clauses()
    async with _connected(_well) as (processor, worker):
        chunks = processor.synthesize("Hello.", needed_at=time.monotonic() + needed_in)
        assert b"".join([pcm async for pcm in chunks]) == _SPEECH
    assert [now - then for now, then in zip(_clauses(), before, strict=True)] == [1, in_time, not in_time]
    assert processor.spoken_seconds == len(_SPEECH) / 48_000
    if needed_in > 0:
        assert 30.0 < worker.requests[0].needed_in_seconds <= needed_in
    else:
        assert worker.requests[0].needed_in_seconds == 0.0


async def test_the_streams_of_all_workers_are_known_if_each_says_how_many() -> None:
    first, second = ScriptedVoice(_well), ScriptedVoice(_well)
    first.streams = 3
    async with _two(first, second) as processor:
        assert processor.pool.balancer.capacity is None
        second.streams = 4
        await _until(lambda: processor.pool.balancer.capacity == 7)
        first.streams = 0
        await _until(lambda: processor.pool.balancer.capacity is None)


class _Reading:
    """A call to a worker whose next message never comes."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.cancelled = self.read_cancelled = False

    async def read(self) -> bytes:
        self.asked.set()
        try:
            return await asyncio.Future()
        except asyncio.CancelledError:
            self.read_cancelled = True
            raise

    def cancel(self) -> None:
        self.cancelled = True


async def test_who_stops_listening_ends_the_call_and_leaves_the_read_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """grpc#43360: a read that is itself cancelled leaks the message that it was about to get, 40 KB each time."""
    async with _connected(_well) as (processor, _):
        reading = _Reading()
        monkeypatch.setattr(processor.pool, "synthesize", lambda *_: reading)
        speaking = asyncio.create_task(_say(processor))
        await reading.asked.wait()
        speaking.cancel()
        await asyncio.wait([speaking])
        assert speaking.cancelled()
        assert (reading.cancelled, reading.read_cancelled) == (True, False)
