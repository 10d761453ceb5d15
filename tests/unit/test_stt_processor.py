"""The gateway's side of speech recognition, against workers that misbehave."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc
import pytest

from server import stt_processor
from server.observability import metrics
from server.stt_processor import SttError, SttProcessor, Transcript
from server.workers import speech_pb2, speech_pb2_grpc
from tests.support.grpc_standin import serving

Script = Callable[[int, grpc.aio.ServicerContext], Awaitable[speech_pb2.TranscribeReply]]


class _Worker(speech_pb2_grpc.SpeechToTextServicer):
    """Hears what `script` says, which is told how many tries came before; keeps the requests."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.requests: list[speech_pb2.TranscribeRequest] = []
        self.asked, self.left = asyncio.Event(), asyncio.Event()

    async def Transcribe(
        self, request: speech_pb2.TranscribeRequest, context: grpc.aio.ServicerContext
    ) -> speech_pb2.TranscribeReply:
        self.requests.append(request)
        self.asked.set()
        try:
            return await self._script(len(self.requests) - 1, context)
        finally:
            self.left.set()


@asynccontextmanager
async def _connected(script: Script) -> AsyncIterator[tuple[SttProcessor, _Worker]]:
    worker = _Worker(script)

    def register(server: grpc.aio.Server) -> None:
        speech_pb2_grpc.add_SpeechToTextServicer_to_server(worker, server)  # type: ignore[no-untyped-call] # generated

    async with serving(register) as address, SttProcessor(address, "en", "Voicefleet") as processor:
        yield processor, worker


def _fails_with(code: grpc.StatusCode, times: int) -> Script:
    async def script(attempt: int, context: grpc.aio.ServicerContext) -> speech_pb2.TranscribeReply:
        if attempt < times:
            await context.abort(code, "the reason")
        return await _well(attempt, context)

    return script


async def _well(attempt: int, context: grpc.aio.ServicerContext) -> speech_pb2.TranscribeReply:
    return speech_pb2.TranscribeReply(text="hello", queue_seconds=0.25, inference_seconds=0.5, batch_size=2)


def _counted(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


async def test_an_utterance_gives_its_text_and_what_it_cost() -> None:
    async with _connected(_well) as (processor, _):
        assert await processor.transcribe(b"\0\0") == Transcript("hello", "", 0.25, 0.5)


async def test_the_session_s_own_language_and_prompt_come_before_the_node_s() -> None:
    async with _connected(_well) as (processor, worker):
        await processor.transcribe(b"\0\0")
        await processor.transcribe(b"\0\0", "de", "Spargel")
    assert [(request.language, request.prompt) for request in worker.requests] == [
        ("en", "Voicefleet"),
        ("de", "Spargel"),
    ]


async def test_a_refusal_is_counted_by_its_gate() -> None:
    async def refuses(attempt: int, context: grpc.aio.ServicerContext) -> speech_pb2.TranscribeReply:
        return speech_pb2.TranscribeReply(refused_by="no_speech", batch_size=1)

    before = _counted("voice_stt_refused_total", gate="no_speech")
    async with _connected(refuses) as (processor, _):
        assert (await processor.transcribe(b"\0\0")).refused_by == "no_speech"
    assert _counted("voice_stt_refused_total", gate="no_speech") == before + 1


async def test_an_utterance_survives_the_worker_s_death_once() -> None:
    before = _counted("voice_worker_retries_total", worker="stt")
    async with _connected(_fails_with(grpc.StatusCode.UNAVAILABLE, times=1)) as (processor, worker):
        assert (await processor.transcribe(b"\0\0")).text == "hello"
    assert len(worker.requests) == 2
    assert _counted("voice_worker_retries_total", worker="stt") == before + 1


@pytest.mark.parametrize(
    ("code", "failure", "tries"),
    [
        (grpc.StatusCode.UNAVAILABLE, "unavailable", 2),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", 1),
        (grpc.StatusCode.INVALID_ARGUMENT, "invalid_audio", 1),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "timeout", 1),
    ],
)
async def test_failures_are_typed_and_only_a_death_is_tried_again(
    code: grpc.StatusCode, failure: str, tries: int
) -> None:
    before = _counted("voice_speech_errors_total", part="stt")
    async with _connected(_fails_with(code, times=2)) as (processor, worker):
        with pytest.raises(SttError, match="the reason") as raised:
            await processor.transcribe(b"\0\0")
    assert raised.value.failure == failure
    assert len(worker.requests) == tries
    assert _counted("voice_speech_errors_total", part="stt") == before + 1, (
        "once for the session, however often it was tried"
    )


async def test_a_stalled_worker_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stt_processor, "_DEADLINE_SECONDS", 0.1)

    async def stalls(attempt: int, context: grpc.aio.ServicerContext) -> speech_pb2.TranscribeReply:
        await asyncio.Event().wait()
        raise AssertionError

    async with _connected(stalls) as (processor, _):
        with pytest.raises(SttError) as raised:
            await processor.transcribe(b"\0\0")
    assert raised.value.failure == "timeout"


async def test_cancelling_reaches_the_worker() -> None:
    async def stalls(attempt: int, context: grpc.aio.ServicerContext) -> speech_pb2.TranscribeReply:
        await asyncio.Event().wait()
        raise AssertionError

    async with _connected(stalls) as (processor, worker):
        asking = asyncio.create_task(processor.transcribe(b"\0\0"))
        async with asyncio.timeout(2):
            await worker.asked.wait()
            asking.cancel()
            await worker.left.wait()
    assert asking.cancelled()
    assert _counted("voice_queue_depth", queue="stt") == 0
