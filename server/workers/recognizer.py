"""From an utterance to its text: the level gate, the cut into windows, the batches, and a second try at full length.

The STT worker is the gRPC shell around this; the model is behind `SpeechEngine`.
"""

import asyncio
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from server.audio.log_mel import SAMPLE_RATE
from server.workers.batching import Batched, MicroBatcher
from server.workers.engines.recognition import Gate, Recognition, Token, Window
from server.workers.engines.utterance import (
    LONGEST_PROMPT,
    LONGEST_WINDOW,
    WINDOWS,
    prepare,
    short_window_for,
    window_for,
)
from server.workers.fair_queue import QueueFull

_QUEUE_LIMIT = 64
_QUANTUM = float(WINDOWS[0])  # a window costs this at least
# More than this waits already: then nobody gets words before the end of a turn.
_BATCHES_BEFORE_A_GLIMPSE = 2


@dataclass(slots=True)
class Transcript:
    """The text of an utterance; where it is empty, the gate that refused it; what it cost.

    `sure`, of a glimpse: `transcribe` would find the same in that audio. `tokens` are the text's, if they were wanted.
    """

    text: str = ""
    refused_by: Gate = ""
    sure: bool = False
    tokens: tuple[Token, ...] = ()
    queue_seconds: float = 0.0
    inference_seconds: float = 0.0
    batch_size: int = 0

    def charge(self, batched: Batched[Recognition]) -> None:
        """Add the cost of one window."""
        self.queue_seconds += batched.queue_seconds
        self.inference_seconds += batched.inference_seconds
        self.batch_size = max(self.batch_size, batched.batch_size)


class SpeechEngine(Protocol):
    """What an engine is to the recogniser: it computes when told, in whatever thread it is told to."""

    languages: Sequence[str]
    """ISO 639-1 codes."""

    max_batch: int
    """More windows than this take longer in one batch than one after the other."""

    parallel: int
    """Batches that it can compute at once, each in a thread of its own."""

    def check_language(self, language: str) -> None:
        """Raises `UnknownLanguage`."""
        ...

    def recognize(self, windows: Sequence[Window]) -> list[Recognition]:
        """The text of each of `windows`, which have one `batch_key`."""
        ...


class Recognizer:
    """Recognises the utterances of many sessions, together where they come together."""

    def __init__(self, engine: SpeechEngine, language: str = "", prompt: str = "") -> None:
        """`language` and `prompt` hold for requests that bring none. Raises `UnknownLanguage`."""
        engine.check_language(language)
        self._engine = engine
        self._language = language
        self._prompt = prompt
        self._max_batch = engine.max_batch
        self._batcher = MicroBatcher[Window, Recognition](
            engine.recognize, _QUEUE_LIMIT, self._max_batch, _QUANTUM, engine.parallel
        )

    async def run(self) -> None:
        """Work until cancelled."""
        await self._batcher.run()

    async def warm_up(self) -> None:
        """One real inference: the first of a process is several times slower than the rest."""
        await self._recognize(Window(np.zeros(SAMPLE_RATE, np.float32), WINDOWS[0]), None, Transcript())

    async def transcribe(
        self,
        pcm: bytes,
        language: str = "",
        prompt: str = "",
        call: Hashable = None,
        fragment: bool = False,
        thorough: bool = False,
        probabilities: bool = False,
    ) -> Transcript:
        """Text of 16-bit little-endian mono PCM at 16 kHz, which is the call's whose turn it then is.

        Of a `fragment` that goes on, one window is enough, and a guess is welcome: more of it will be heard soon.
        `thorough`: a glimpse of nearly the same audio was not sure, and a short window is not worth a try.
        `probabilities`: its tokens are wanted, too.

        Raises `InvalidAudio`, `UnknownLanguage`, `QueueFull`.
        """
        self._engine.check_language(language)
        pieces = await asyncio.to_thread(prepare, pcm)
        if not pieces:
            return Transcript(refused_by="silence")
        language, prompt = language or self._language, (prompt or self._prompt)[-LONGEST_PROMPT:]
        transcript = Transcript()
        windows = (
            replace(_first_window(piece, language, prompt, thorough), probabilities=probabilities) for piece in pieces
        )
        heard = [await self._recognize_piece(window, call, transcript, fragment) for window in windows]
        transcript.text = " ".join(recognition.text for recognition in heard if recognition.text)
        transcript.tokens = tuple(token for recognition in heard for token in recognition.tokens)
        if not transcript.text:
            transcript.refused_by = heard[0].refused_by
        return transcript

    async def glimpse(self, pcm: bytes, language: str = "", prompt: str = "", call: Hashable = None) -> Transcript:
        """As `transcribe`, but at once and less surely: what somebody says who may still be speaking.

        Raises `QueueFull` where much waits already: it is the first to go.
        """
        self._engine.check_language(language)
        pieces = await asyncio.to_thread(prepare, pcm)
        if not pieces:
            return Transcript(refused_by="silence")
        transcript, samples = Transcript(), pieces[-1]
        language, prompt = language or self._language, (prompt or self._prompt)[-LONGEST_PROMPT:]
        window = _first_window(samples, language, prompt)
        if self._batcher.waiting >= _BATCHES_BEFORE_A_GLIMPSE * self._max_batch:
            raise QueueFull(self._batcher.waiting)
        recognition = await self._recognize(window, call, transcript)
        transcript.text, transcript.refused_by = recognition.text, recognition.refused_by
        transcript.sure = len(pieces) == 1 and _is_enough(recognition, window)
        return transcript

    async def _recognize_piece(
        self, window: Window, call: Hashable, transcript: Transcript, fragment: bool
    ) -> Recognition:
        """That window first, then a longer one, and at last the length that the model was trained on."""
        recognition = await self._recognize(window, call, transcript)
        if fragment:
            return Recognition(recognition.text or recognition.guess, recognition.refused_by)
        while not _is_enough(recognition, window):
            seconds = window_for(window.samples) if window.short else LONGEST_WINDOW
            window = replace(window, seconds=seconds, short=False)
            recognition = await self._recognize(window, call, transcript)
        return recognition

    async def _recognize(self, window: Window, call: Hashable, transcript: Transcript) -> Recognition:
        batched = await self._batcher.submit(window, window.batch_key, call, window.cost)
        transcript.charge(batched)
        return batched.result


def _is_enough(recognition: Recognition, window: Window) -> bool:
    """Whether no longer window is worth a try."""
    if recognition.sure or window.short:
        return recognition.sure
    return recognition.refused_by not in ("log_prob", "repetition") or window.seconds >= LONGEST_WINDOW


def _first_window(samples: NDArray[np.float32], language: str, prompt: str, thorough: bool = False) -> Window:
    seconds = None if thorough else short_window_for(samples)
    if seconds is None:
        return Window(samples, window_for(samples), language, prompt)
    return Window(samples, seconds, language, prompt, short=True)
