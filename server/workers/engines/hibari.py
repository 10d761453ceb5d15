"""The Hibari voice: a small CPU model that makes a whole sentence in some 20 ms, behind the `TtsEngine` interface.

It only loads the file it is given; it downloads nothing. The library's silence around each sentence is cut off, so the
pause between sentences is ours.
"""

import asyncio
import re
import unicodedata
from collections.abc import AsyncGenerator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import structlog
from hibari import SAMPLE_RATE, Hibari
from numpy.typing import NDArray

from server.audio.silence import SilenceTrimmer
from server.workers.engine import EngineBusy, EngineFailed, Progress, UnknownVoice, Unspeakable, Voice
from server.workers.engines.pieces import sentence_parts, without_tags

_HEART = Voice("heart", "en-US", "American English, female", is_default=True)
_SEED = 0  # of the breath noise: the same text sounds the same every time
_SPEEDS = (0.5, 2.0)  # what the model was trained for

_MAX_WAITING = 64  # two seconds of work
_CHUNK = SAMPLE_RATE * 80 // 1000
_LONGEST_PIECE = 250  # characters: about 15 s of speech, made in 0.2 s
_SENTENCE_PAUSE = SAMPLE_RATE * 200 // 1000
_CLAUSE_PAUSE = SAMPLE_RATE * 80 // 1000
_AUDIBLE_DBFS = -60.0  # the softest f or h is above, the model's noise floor is below -75
_DIGITS = re.compile(r"\d{1,10}")  # said in one breath

log = structlog.get_logger(__name__)


class HibariEngine:
    """Speaks up to `threads` pieces of text at once; a longer text takes its turns piece by piece."""

    name = "hibari"
    sample_rate: int = SAMPLE_RATE

    def __init__(self, model: Path, threads: int) -> None:
        """`model` is the voice's ONNX file."""
        self._hibari = Hibari(voice=_HEART.name, model=str(model))
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="hibari")
        self._waiting = 0

    def voices(self) -> Sequence[Voice]:
        """The one voice whose model is at hand."""
        return (_HEART,)

    async def synthesize(
        self, text: str, voice: str, speed: float, needed_in: float = 0.0, progress: Progress | None = None
    ) -> AsyncGenerator[bytes, None]:
        """See `TtsEngine`. Chunks are of 80 ms; `speed` is held between 0.5 and 2; a sentence is made at once."""
        if voice not in ("", _HEART.name):
            raise UnknownVoice(voice, [_HEART.name])
        if self._waiting >= _MAX_WAITING:
            raise EngineBusy(f"{_MAX_WAITING} sentences are waiting already")
        spoken = False
        for piece, pause in _pieces(text):
            samples = await self._in_thread(piece, min(max(speed, _SPEEDS[0]), _SPEEDS[1]))
            if not len(samples):
                continue
            if spoken:
                samples = np.concatenate([np.zeros(pause, samples.dtype), samples])
            spoken = True
            for start in range(0, len(samples), _CHUNK):
                yield samples[start : start + _CHUNK].tobytes()
        if not spoken:
            raise Unspeakable("the text holds no word to speak; it takes at least one letter or digit")

    def streams(self) -> int:
        """Not known: how many a cpu can speak at once depends on what else it does."""
        return 0

    def healthy(self) -> bool:
        """There is no device to lose."""
        return True

    async def warm_up(self) -> None:
        """Load the pronunciation tables and the network for unknown words, and speak once."""
        await self._in_thread("Hello, Zwxqville.", 1.0)

    async def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, piece: str, speed: float) -> NDArray[np.int16]:
        """A piece that nobody waits for any more is not begun; one that is begun ends within 0.2 s."""
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._speak, piece, speed)
        finally:
            self._waiting -= 1

    def _speak(self, piece: str, speed: float) -> NDArray[np.int16]:
        """Samples `[n]`, without silence at either end; none if there is nothing to say."""
        phonemes = self._phonemes(piece)
        try:
            spoken = [_trimmed(self._hibari.from_phonemes(sentence, speed, _SEED)) for sentence in phonemes]
        except Exception as error:
            log.error("voice_failed", error=type(error).__name__)  # noqa: TRY400  # a traceback may hold words
            raise EngineFailed("the voice's model failed") from None
        samples = np.concatenate([np.zeros(0, np.float32), *spoken])
        return np.asarray(np.clip(samples, -1.0, 1.0) * 32767.0, dtype="<i2")

    def _phonemes(self, piece: str) -> list[str]:
        """How each sentence of `piece` sounds. The library can't read every text, such as a number of 37 digits."""
        for text in (piece, _digit_by_digit(piece)):
            try:
                sentences = self._hibari.phonemize(text)
            except Exception as error:
                log.warning("piece_not_read", error=type(error).__name__, characters=len(text))
            else:
                return [phonemes for phonemes in sentences if any(map(str.isalpha, phonemes))]
        return []


def _digit_by_digit(text: str) -> str:
    return _DIGITS.sub(lambda digits: f" {' '.join(digits.group())}, ", unicodedata.normalize("NFKC", text))


def _pieces(text: str) -> Iterator[tuple[str, int]]:
    """Sentences, the long ones in parts, each after so many samples of pause. Tags, which would be read aloud, go."""
    for parts in sentence_parts(without_tags(text), _LONGEST_PIECE):
        for index, part in enumerate(parts):
            yield part, _CLAUSE_PAUSE if index else _SENTENCE_PAUSE


def _trimmed(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """What can be heard of `samples`."""
    trimmer = SilenceTrimmer(SAMPLE_RATE, _AUDIBLE_DBFS, hold=len(samples) / SAMPLE_RATE)
    return np.concatenate([trimmer.push(samples), trimmer.finish()])
