"""The Hibari voice: a small CPU model that makes a whole sentence in some 20 ms, behind the `TtsEngine` interface.

It only loads the file it is given; it downloads nothing. The library's silence around each sentence is cut off, so the
pause between sentences is ours.
"""

import asyncio
import re
import textwrap
from collections.abc import AsyncGenerator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from hibari import SAMPLE_RATE, Hibari
from numpy.typing import NDArray

from server.workers.engine import EngineBusy, UnknownVoice, Unspeakable, Voice

_HEART = Voice("heart", "en-US", "American English, female", is_default=True)
_SEED = 0  # of the breath noise: the same text sounds the same every time
_SPEEDS = (0.5, 2.0)  # what the model was trained for

_MAX_WAITING = 64  # two seconds of work
_CHUNK = SAMPLE_RATE * 80 // 1000
_LONGEST_PIECE = 250  # characters: about 15 s of speech, made in 0.2 s
_CLAUSE_END = re.compile(r"(?<=[,;:—])\s+")
_SENTENCE_PAUSE = SAMPLE_RATE * 200 // 1000
_CLAUSE_PAUSE = SAMPLE_RATE * 80 // 1000

_FRAME = SAMPLE_RATE * 5 // 1000
_AUDIBLE_DBFS = -60.0  # the softest f or h is above, the model's noise floor is below -75
_MARGIN = SAMPLE_RATE * 15 // 1000
_FADE = SAMPLE_RATE * 5 // 1000


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

    async def synthesize(self, text: str, voice: str, speed: float) -> AsyncGenerator[bytes, None]:
        """See `TtsEngine`. Chunks are of 80 ms; `speed` is held between 0.5 and 2."""
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
        spoken = [
            _trimmed(self._hibari.from_phonemes(phonemes, speed, _SEED))
            for phonemes in self._hibari.phonemize(piece)
            if any(character.isalpha() for character in phonemes)
        ]
        samples = np.concatenate([np.zeros(0, np.float32), *spoken])
        return np.asarray(np.clip(samples, -1.0, 1.0) * 32767.0, dtype="<i2")


def _pieces(text: str) -> Iterator[tuple[str, int]]:
    """Sentences, the long ones cut at clauses or else between words, each with the samples of pause before it."""
    for sentence in Hibari.split_sentences(text):
        parts = [sentence]
        if len(sentence) > _LONGEST_PIECE:
            parts = [part for clause in _CLAUSE_END.split(sentence) for part in textwrap.wrap(clause, _LONGEST_PIECE)]
        for index, part in enumerate(parts):
            yield part, _CLAUSE_PAUSE if index else _SENTENCE_PAUSE


def _trimmed(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """What can be heard of `samples`, with a margin that fades, so that neither a soft consonant nor a click is cut."""
    frames = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME)
    audible = np.flatnonzero(10.0 * np.log10(np.mean(frames**2, axis=1) + 1e-12) > _AUDIBLE_DBFS)
    if not len(audible):
        return samples[:0]
    start = max(0, int(audible[0]) * _FRAME - _MARGIN)
    end = (int(audible[-1]) + 1) * _FRAME + _MARGIN
    trimmed = samples[start:end].copy()
    ramp = np.linspace(0.0, 1.0, _FADE, dtype=np.float32)
    trimmed[:_FADE] *= ramp
    trimmed[-_FADE:] *= ramp[::-1]
    return trimmed
