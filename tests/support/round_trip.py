"""Speech made by an engine and heard by the recogniser: is it sound, is it language, is it what was to be said?

For any `TtsEngine`. How natural a voice is, nothing here can tell.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from server.audio.log_mel import SAMPLE_RATE
from server.client.transcripts import word_errors, words
from server.workers.engine import TtsEngine
from server.workers.engines.pieces import without_tags
from server.workers.engines.whisper import WhisperEngine
from server.workers.recognizer import Recognizer
from server.workers.serving import THREADS
from tests.support.speech import resample

_AT_ONCE = (
    "Our opening hours are from nine to five, and on Saturdays from two to six.",
    "Please hold the line, and the next person who is free will take your call.",
)

_QUIETEST_DBFS, _LOUDEST_DBFS = -45.0, -6.0  # of the whole; speech at full scale has some -12
_MOST_AT_FULL_SCALE = 0.001
_SLOWEST, _FASTEST = 7.0, 25.0  # characters a second; people speak 12 to 16
_MOST_ERRORS = 0.2  # of the words; the recogniser itself mishears some


@dataclass(frozen=True, slots=True)
class Spoken:
    """What an engine made of a text: 16-bit little-endian mono PCM at `sample_rate` Hz, and after how many seconds."""

    pcm: bytes
    sample_rate: int
    first_audio: float
    total: float

    @property
    def seconds(self) -> float:
        """Of audio."""
        return len(self.pcm) / 2 / self.sample_rate


async def spoken(engine: TtsEngine, text: str, voice: str = "") -> Spoken:
    """`text` as `engine` says it. Raises what `TtsEngine.synthesize` raises."""
    began = time.perf_counter()
    first_audio = 0.0
    pcm = b""
    async with aclosing(engine.synthesize(text, voice, 1.0)) as chunks:
        async for chunk in chunks:
            first_audio = first_audio or time.perf_counter() - began
            pcm += chunk
    return Spoken(pcm, engine.sample_rate, first_audio, time.perf_counter() - began)


@asynccontextmanager
async def recognizer(folder: Path) -> AsyncIterator[Recognizer]:
    """The recogniser as its worker runs it, on the CPU, with the model in `folder`."""
    recognizer = Recognizer(WhisperEngine(folder, "cpu", THREADS), "en")
    async with asyncio.TaskGroup() as tasks:
        working = tasks.create_task(recognizer.run())
        await recognizer.warm_up()
        yield recognizer
        working.cancel()


async def heard(recognizer: Recognizer, speech: Spoken) -> str:
    """What the recogniser understands."""
    pcm = await asyncio.to_thread(resample, speech.pcm, speech.sample_rate, SAMPLE_RATE)
    return (await recognizer.transcribe(pcm)).text


async def check_speech(engine: TtsEngine, recognizer: Recognizer) -> Sequence[Spoken]:
    """Have a warm `engine` say two sentences at once; fails unless each comes out as speech, and as the right one."""
    speeches = await asyncio.gather(*(spoken(engine, text) for text in _AT_ONCE))
    for text, speech in zip(_AT_ONCE, speeches, strict=True):
        samples = np.frombuffer(speech.pcm, "<i2") / 32768
        assert len(samples), "it is empty"
        level = 10 * np.log10(np.mean(samples**2) + 1e-12)
        assert level > _QUIETEST_DBFS, f"it is too silent: {level:.0f} dBFS"
        assert level < _LOUDEST_DBFS, f"it is too loud: {level:.0f} dBFS"
        assert np.mean(np.abs(samples) >= 0.999) <= _MOST_AT_FULL_SCALE, "it is clipped"
        pace = len(text) / speech.seconds
        assert _SLOWEST < pace < _FASTEST, f"nobody speaks {pace:.1f} characters a second"
        errors = word_errors(without_tags(text), understood := await heard(recognizer, speech))
        assert errors <= _MOST_ERRORS * len(words(text)), f"understood: {understood}"
    return speeches
