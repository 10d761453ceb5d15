"""Chatterbox as a worker process, reached as the gateway reaches it: real in all but its weights, which are small."""

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, aclosing
from dataclasses import dataclass
from subprocess import Popen

import grpc
import numpy as np
import pytest
import pytest_asyncio

from server.tts_processor import TtsProcessor
from server.workers import clause_audio, speech_pb2, speech_pb2_grpc
from server.workers.client import open_channel, wait_until_serving
from tests.support.chatterbox_worker import STREAMS, VOICE, chatterbox_worker

pytestmark = pytest.mark.asyncio(loop_scope="module")

_RATE = 24_000
_START_SECONDS = 120.0
_SHORT = "Two seconds of this, not more than that."
# 10 s, far more than the 4 s that are made ahead of playout: most of it is still to come when something happens.
_LONG = "This sentence goes on and on for quite some time, as there is much to say, " * 3 + "and now it ends at last."


@dataclass(frozen=True, slots=True)
class _Worker:
    address: str
    process: "Popen[bytes]"
    channel: grpc.aio.Channel

    def ask(
        self, text: str, voice: str = "", skip_samples: int = 0
    ) -> "grpc.aio.UnaryStreamCall[speech_pb2.SynthesizeRequest, speech_pb2.AudioChunk]":
        stub = speech_pb2_grpc.TextToSpeechStub(self.channel)  # type: ignore[no-untyped-call] # generated
        return stub.Synthesize(speech_pb2.SynthesizeRequest(text=text, voice=voice, skip_samples=skip_samples))

    async def say(self, text: str, voice: str = "", skip_samples: int = 0) -> bytes:
        return b"".join([chunk.pcm async for chunk in self.ask(text, voice, skip_samples)])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def workers() -> AsyncIterator[list[_Worker]]:
    """Two, warm; the first is no test's to break. They start together, as each takes a while."""
    with tempfile.TemporaryDirectory(prefix="voice") as folder, ExitStack() as processes:
        async with AsyncExitStack() as channels:
            addresses = [f"unix:{folder}/{number}" for number in range(2)]
            started = [
                _Worker(
                    address,
                    processes.enter_context(chatterbox_worker(address)),
                    await channels.enter_async_context(open_channel(address)),
                )
                for address in addresses
            ]
            serving = await asyncio.gather(*(wait_until_serving(each.channel, _START_SECONDS) for each in started))
            assert all(serving)
            yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker(workers: list[_Worker]) -> _Worker:
    return workers[0]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def long(worker: _Worker) -> bytes:
    """The long sentence, undisturbed."""
    return await worker.say(_LONG)


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # what is waited for happens in another process
            await asyncio.sleep(0.02)


def _samples(pcm: bytes) -> np.ndarray:
    return np.frombuffer(pcm, "<i2").astype(np.int32)


async def _refused(worker: _Worker, text: str, voice: str = "") -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await worker.say(text, voice)
    return raised.value.code(), str(raised.value.details())


async def test_it_says_what_it_is_and_how_many_streams_it_speaks(worker: _Worker) -> None:
    stub = speech_pb2_grpc.TextToSpeechStub(worker.channel)  # type: ignore[no-untyped-call] # generated
    reply = await stub.ListVoices(speech_pb2.ListVoicesRequest())
    assert (reply.engine, reply.sample_rate, reply.streams) == ("chatterbox", _RATE, STREAMS)
    assert [(voice.name, voice.is_default) for voice in reply.voices] == [(VOICE, True)]


async def test_two_at_once_are_spoken_each_as_it_would_be_alone(worker: _Worker) -> None:
    texts = [_SHORT, "Somebody else says something else here."]
    together = await asyncio.gather(*map(worker.say, texts))
    alone = [await worker.say(text) for text in texts]
    assert together[0] != together[1]
    for one, other in zip(together, alone, strict=True):
        assert len(other) > _RATE
        assert abs(len(one) - len(other)) <= 2 * 120  # the silence at the end is cut in frames of 5 ms


async def test_a_retry_gets_exactly_the_rest(worker: _Worker) -> None:
    whole = await worker.say(_SHORT)
    for skip in (1, 12_345, len(whole) // 2):
        assert await worker.say(_SHORT, skip_samples=skip) == whole[skip * 2 :]


async def test_a_voice_it_lacks_is_refused_with_what_it_has(worker: _Worker) -> None:
    code, details = await _refused(worker, _SHORT, "alloy")
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details == f"unknown voice 'alloy'; this engine has: {VOICE}"


async def test_what_cannot_be_spoken_is_silence(worker: _Worker) -> None:
    assert await worker.say("...") == b""


async def test_one_too_many_is_refused_until_another_is_interrupted(worker: _Worker, long: bytes) -> None:
    calls = [worker.ask(_LONG) for _ in range(STREAMS)]
    begun = [(await call.read()).pcm for call in calls]
    code, details = await _refused(worker, _SHORT)
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details == f"{STREAMS} streams are all that the device has memory for"

    calls[0].cancel()
    async with TtsProcessor(worker.address) as tts:  # which asks again for a while
        assert len(b"".join([pcm async for pcm in tts.synthesize(_SHORT)])) > _RATE
    while (chunk := await calls[1].read()) is not grpc.aio.EOF:
        begun[1] += chunk.pcm
    assert abs(len(begun[1]) - len(long)) <= 2 * 120


async def test_a_sentence_is_whole_though_its_worker_hangs_and_one_day_dies(
    workers: list[_Worker], long: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clause_audio, "LONGEST_GAP_SECONDS", 3.5)  # hops are of 2 s
    stays, lost = workers
    async with TtsProcessor(lost.address, stays.address) as tts:
        for signum in (signal.SIGSTOP, signal.SIGKILL):
            await _until(lambda: all(tts.pool.workers.values()))
            # What has failed is not asked first for a while.
            await _until(lambda: tts.pool.balancer.choose(time.monotonic()) == lost.address)
            pcm = b""
            async with aclosing(tts.synthesize(_LONG)) as chunks:
                async for chunk in chunks:
                    if not pcm:
                        assert tts.pool.balancer.outstanding(lost.address) == 1
                        os.kill(lost.process.pid, signum)
                    pcm += chunk
            assert len(pcm) == len(long)
            assert np.abs(_samples(pcm) - _samples(long)).max() <= 1
            await _until(lambda: not tts.pool.workers[lost.address])
            os.kill(lost.process.pid, signal.SIGCONT)
