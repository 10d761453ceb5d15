"""A worker on TCP and callers without its token: a real process, and the memory that they cost it."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from server.workers import speech_pb2, speech_pb2_grpc
from tests.support.clips import BUNDLED, read_clips
from tests.support.speech_service import TOKEN, Service, stt_service

_CLIENTS = 30
_BYTES = 18_000_000
_TRANSCRIBE = "/voicefleet.speech.v1.SpeechToText/Transcribe"
_CHECK = "/grpc.health.v1.Health/Check"


@pytest.fixture(scope="module")
def recogniser() -> Iterator[Service]:
    with stt_service() as service:
        yield service


def _peak_mb(service: Service) -> int:
    status = Path(f"/proc/{service.process.pid}/status").read_text(encoding="utf-8")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) // 1024


@pytest.mark.parametrize("method", [_TRANSCRIBE, _CHECK, "/voicefleet.speech.v1.SpeechToText/NoSuchMethod"])
async def test_of_a_message_without_the_token_next_to_nothing_is_taken_in(recogniser: Service, method: str) -> None:
    message = bytes(_BYTES)
    options = (("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1))

    async def send() -> grpc.StatusCode:
        async with grpc.aio.insecure_channel(recogniser.address, options=options) as channel:
            call = channel.unary_unary(method)(message, timeout=60)
            return await call.code()

    before = _peak_mb(recogniser)
    codes = await asyncio.gather(*(send() for _ in range(_CLIENTS)))
    answer = grpc.StatusCode.OK if method == _CHECK else grpc.StatusCode.UNAUTHENTICATED
    assert set(codes) == {answer}
    assert _peak_mb(recogniser) - before < 100, f"{_CLIENTS} messages have {_CLIENTS * _BYTES // 1_000_000} MB"


@pytest.mark.parametrize("method", [_TRANSCRIBE, "/grpc.health.v1.Health/Watch"])
async def test_of_streams_that_write_on_without_the_token_next_to_nothing_is_taken_in(
    recogniser: Service, method: str
) -> None:
    message = bytes(1_000_000)

    async def write_on(channel: grpc.aio.Channel) -> None:
        call = channel.stream_stream(method)()
        with suppress(TimeoutError, grpc.aio.AioRpcError, asyncio.InvalidStateError):
            async with asyncio.timeout(2):
                for _ in range(20):
                    await call.write(message)
        call.cancel()

    before = _peak_mb(recogniser)
    async with grpc.aio.insecure_channel(recogniser.address) as channel:
        await asyncio.gather(*(write_on(channel) for _ in range(40)))
    assert _peak_mb(recogniser) - before < 100


async def test_whoever_shows_the_token_is_served(recogniser: Service) -> None:
    clip = read_clips(BUNDLED)[0]
    async with grpc.aio.insecure_channel(recogniser.address) as channel:
        stub = speech_pb2_grpc.SpeechToTextStub(channel)  # type: ignore[no-untyped-call] # generated
        request = speech_pb2.TranscribeRequest(pcm=clip.pcm, prompt="x " * 5000)
        reply = await stub.Transcribe(request, metadata=(("authorization", f"Bearer {TOKEN}"),), timeout=60)
    assert reply.text


async def test_more_than_an_utterance_can_be_is_refused_with_the_token_too(recogniser: Service) -> None:
    async with grpc.aio.insecure_channel(recogniser.address) as channel:
        stub = speech_pb2_grpc.SpeechToTextStub(channel)  # type: ignore[no-untyped-call] # generated
        request = speech_pb2.TranscribeRequest(pcm=bytes(_BYTES))
        call = stub.Transcribe(request, metadata=(("authorization", f"Bearer {TOKEN}"),), timeout=60)
        assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_health_is_told_and_watched_without_the_token(recogniser: Service) -> None:
    async with grpc.aio.insecure_channel(recogniser.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        reply = await stub.Check(health_pb2.HealthCheckRequest(service="any"), timeout=5)
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
        watching = stub.Watch(health_pb2.HealthCheckRequest(), timeout=5)
        assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVING
        watching.cancel()
