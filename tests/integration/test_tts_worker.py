"""The TTS worker: a real process with a real voice, reached as the gateway reaches it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import grpc
import numpy as np
import pytest
import pytest_asyncio

from server.client.transcripts import word_errors, words
from server.tts_processor import TtsError, TtsProcessor
from server.workers import speech_pb2, speech_pb2_grpc
from server.workers.engines.recognition import Window
from server.workers.engines.utterance import decode
from server.workers.engines.whisper import WhisperEngine
from tests.support.speech import model_folder, resample, running, worker_commands

pytestmark = pytest.mark.asyncio(loop_scope="module")

_RATE = 24_000
_SOON = 10.0  # seconds, for what takes one where nothing else runs; all that is asked for would take a minute and more
_TEXT = "Our opening hours are from nine to five, and on Saturdays from ten to two."


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def address() -> AsyncIterator[str]:
    commands = worker_commands("tts")
    async with running(commands):
        yield commands[0].address


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tts(address: str) -> AsyncIterator[TtsProcessor]:
    async with TtsProcessor(address) as processor:
        yield processor


async def _say(tts: TtsProcessor, text: str, speed: float = 1.0) -> bytes:
    return b"".join([pcm async for pcm in tts.synthesize(text, speed=speed)])


def _levels(pcm: bytes) -> np.ndarray:
    """dBFS of each 10 ms."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float64) / 32768
    frames = samples[: len(samples) // 240 * 240].reshape(-1, 240)
    return np.asarray(10 * np.log10(np.mean(frames**2, axis=1) + 1e-12))


async def test_what_it_can_do_is_known_once_connected(tts: TtsProcessor) -> None:
    assert tts.sample_rate == _RATE
    assert tts.voices == {"heart"}


async def test_what_it_says_is_understood(tts: TtsProcessor) -> None:
    samples = decode(resample(await _say(tts, _TEXT), _RATE, 16_000))
    heard = WhisperEngine(model_folder("tiny.en"), "cpu").recognize([Window(samples, 15)])[0].text
    truth = "our opening hours are from 9 to 5 and on Saturdays from 10 to 2"
    assert word_errors(truth, heard.replace("10", "one zero")) <= 0.1 * len(words(truth)) + 1


async def test_it_speaks_from_the_first_moment_to_the_last_without_a_click(tts: TtsProcessor) -> None:
    for text in ("Yes.", "Fish and chips, please.", "Half past five.", _TEXT):
        pcm = await _say(tts, text)
        audible = np.flatnonzero(_levels(pcm) > -60)
        assert audible[0] <= 3, text
        assert audible[-1] >= len(_levels(pcm)) - 5, text
        samples = np.frombuffer(pcm, "<i2")
        assert abs(samples[0]) < 50, text
        assert abs(samples[-1]) < 50, text


async def test_the_same_text_gives_the_same_samples(tts: TtsProcessor) -> None:
    assert await _say(tts, _TEXT) == await _say(tts, _TEXT)


async def test_a_retry_gets_exactly_the_rest(tts: TtsProcessor, address: str) -> None:
    whole = await _say(tts, _TEXT)
    async with grpc.aio.insecure_channel(address) as channel:
        stub = speech_pb2_grpc.TextToSpeechStub(channel)  # type: ignore[no-untyped-call] # generated
        for skip in (1, 1919, 1920, 1921, 30_000, len(whole)):
            request = speech_pb2.SynthesizeRequest(text=_TEXT, skip_samples=skip)
            rest = b"".join([chunk.pcm async for chunk in stub.Synthesize(request)])
            assert rest == whole[skip * 2 :]


async def test_it_speaks_faster_when_told_to(tts: TtsProcessor) -> None:
    normal, fast, absurd = [len(await _say(tts, _TEXT, speed)) for speed in (1.0, 1.5, 40.0)]
    assert fast == pytest.approx(normal / 1.5, rel=0.1)
    assert absurd == pytest.approx(normal / 2, rel=0.1)


@pytest.mark.parametrize("text", ["", " ", "...", "!?", "—", "😀🎉", "***", "\0"])
async def test_what_cannot_be_spoken_is_silence(tts: TtsProcessor, text: str) -> None:
    assert await _say(tts, text) == b""


@pytest.mark.parametrize(
    "text",
    ["word " * 600, "one, two " * 400, "A sentence of some words. " * 120, "a" * 3000],
    ids=["no punctuation", "clauses", "sentences", "one word"],
)
async def test_a_very_long_text_begins_soon_and_can_be_left(tts: TtsProcessor, text: str) -> None:
    async with asyncio.timeout(_SOON), aclosing(tts.synthesize(text)) as chunks:
        await anext(chunks)
    assert await _say(tts, "Hello.")


async def test_a_long_text_is_spoken_to_its_end(tts: TtsProcessor) -> None:
    one, ten = [len(await _say(tts, "The quick brown fox jumps over the lazy dog. " * times)) for times in (1, 10)]
    assert ten == pytest.approx(10 * one + 9 * 0.2 * _RATE * 2, rel=0.02)


async def test_a_voice_it_lacks_is_refused_with_what_it_has(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = speech_pb2_grpc.TextToSpeechStub(channel)  # type: ignore[no-untyped-call] # generated
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.Synthesize(speech_pb2.SynthesizeRequest(text="Hello.", voice="alloy")).read()
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert raised.value.details() == "unknown voice 'alloy'; this engine has: heart"


async def test_too_many_at_once_are_refused_and_those_given_up_make_room(tts: TtsProcessor) -> None:
    asking = [asyncio.create_task(_say(tts, _TEXT * 5)) for _ in range(120)]
    done, waiting = await asyncio.wait(asking, return_when=asyncio.FIRST_EXCEPTION)
    errors = [task.exception() for task in done if task.exception()]
    assert isinstance(errors[0], TtsError)
    assert errors[0].failure == "busy"
    for task in waiting:
        task.cancel()
    await asyncio.wait(asking)
    async with asyncio.timeout(_SOON):
        assert await _say(tts, "Hello.")
