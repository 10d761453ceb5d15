"""The gateway's side of speech synthesis, against workers that misbehave."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

import grpc
import pytest

from server import tts_processor
from server.node import metrics
from server.tts_processor import TtsError, TtsProcessor
from server.workers import speech_pb2, speech_pb2_grpc
from tests.support.grpc_standin import serving

_SPEECH = bytes(range(200)) * 10
_CHUNKS = [_SPEECH[start : start + 400] for start in range(0, len(_SPEECH), 400)]

Script = Callable[[int, grpc.aio.ServicerContext], AsyncIterator[bytes]]


class _Worker(speech_pb2_grpc.TextToSpeechServicer):
    """Speaks as `script` says, which is told how many tries came before; keeps the requests."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.requests: list[speech_pb2.SynthesizeRequest] = []
        self.left = asyncio.Event()

    async def Synthesize(
        self, request: speech_pb2.SynthesizeRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[speech_pb2.AudioChunk]:
        self.requests.append(request)
        try:
            async for pcm in self._script(len(self.requests) - 1, context):
                yield speech_pb2.AudioChunk(pcm=pcm)
        finally:
            self.left.set()

    async def ListVoices(
        self, request: speech_pb2.ListVoicesRequest, context: grpc.aio.ServicerContext
    ) -> speech_pb2.ListVoicesReply:
        voices = [speech_pb2.Voice(name=name) for name in ("anna", "bert")]
        return speech_pb2.ListVoicesReply(engine="script", sample_rate=24_000, voices=voices)


@asynccontextmanager
async def _connected(script: Script, default_voice: str = "") -> AsyncIterator[tuple[TtsProcessor, _Worker]]:
    worker = _Worker(script)

    def register(server: grpc.aio.Server) -> None:
        speech_pb2_grpc.add_TextToSpeechServicer_to_server(worker, server)  # type: ignore[no-untyped-call] # generated

    async with serving(register) as address, TtsProcessor(address, default_voice) as processor:
        yield processor, worker


async def _well(attempt: int, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
    for chunk in _CHUNKS:
        yield chunk


async def _say(processor: TtsProcessor, voice: str = "") -> bytes:
    return b"".join([pcm async for pcm in processor.synthesize("Hello.", voice)])


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


async def test_a_worker_that_dies_twice_is_an_error() -> None:
    async def dies(attempt: int, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        yield _CHUNKS[0]
        await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

    async with _connected(dies) as (processor, worker):
        with pytest.raises(TtsError) as raised:
            await _say(processor)
    assert raised.value.failure == "unavailable"
    assert len(worker.requests) == 2


async def test_a_worker_that_stalls_is_left_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tts_processor, "_LONGEST_GAP_SECONDS", 0.1)

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


async def test_a_busy_worker_is_not_asked_again() -> None:
    async def busy(attempt: int, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "64 sentences are waiting already")
        yield b""

    async with _connected(busy) as (processor, worker):
        with pytest.raises(TtsError, match="64 sentences") as raised:
            await _say(processor)
    assert raised.value.failure == "busy"
    assert len(worker.requests) == 1


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
