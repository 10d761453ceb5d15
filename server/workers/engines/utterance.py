"""What is done to an utterance before the recogniser sees it: decoded, gated by its level, cut into windows.

Pure functions over samples. Whether there are words in the sound is for the recogniser to say, not for this module.
"""

import numpy as np
from numpy.typing import NDArray

from server.audio.log_mel import SAMPLE_RATE
from server.errors import VoicefleetError

WINDOWS = (15, 20, 30)
"""Seconds a recognition window may have. Whisper was trained on 30 s; in windows of up to 12 s tiny.en says some
utterances twice, from 13 s on none (`tests.bench.stt_accuracy`; whisper.cpp#1855, faster-whisper#1006). Few sizes, so
that utterances of several sessions can share a batch."""

SHORT_WINDOWS = (2, 3, 4, 5, 6, 8, 10, 12)
"""Seconds of windows that are tried first, in a third of the time. What they say twice is taken once
(`engines.repetition`), and only what is sure is believed."""

LONGEST_WINDOW = WINDOWS[-1]
MAX_SECONDS = 300
"""Of an utterance: as much as a session holds of what its caller says."""

LONGEST_PROMPT = 2000
"""Characters of a prompt that are read, the last ones: nine for each token that the model keeps, where words have four
or five. To split more of them into tokens takes time (0.7 s for 900,000) and changes nothing."""

_MARGIN_SECONDS = 0.4  # of silence in a short window: without it the last word is lost
_FRAME = SAMPLE_RATE // 50
_SHORTEST = SAMPLE_RATE // 10  # shorter than any word
_SILENCE_DBFS = -60.0  # telephone speech is above -45 even from far away, comfort noise below -60
_EARLIEST_CUT = 25 * SAMPLE_RATE
_LATEST_CUT = LONGEST_WINDOW * SAMPLE_RATE


class InvalidAudio(VoicefleetError):
    """The audio is not what the recogniser takes."""


def decode(pcm: bytes) -> NDArray[np.float32]:
    """Samples in -1..1 of 16-bit little-endian mono PCM at 16 kHz. Raises `InvalidAudio`."""
    if len(pcm) % 2:
        raise InvalidAudio(f"got {len(pcm)} bytes of audio; 16-bit PCM takes an even number")
    if len(pcm) > MAX_SECONDS * SAMPLE_RATE * 2:
        raise InvalidAudio(
            f"got {len(pcm) / SAMPLE_RATE / 2:.0f} s of audio; an utterance takes {MAX_SECONDS} s at most"
        )
    return np.frombuffer(pcm, dtype="<i2").astype(np.float32) / 32768.0


def prepare(pcm: bytes) -> list[NDArray[np.float32]]:
    """The pieces, of at most 30 s each, of an utterance; none if it is silence. Raises `InvalidAudio`."""
    samples = decode(pcm)
    return [] if is_silence(samples) else cut(samples)


def is_silence(samples: NDArray[np.float32]) -> bool:
    """Whether even the loudest 20 ms are too quiet, or the whole is too short, to hold a word."""
    if len(samples) < _SHORTEST:
        return True
    return bool(10.0 * np.log10(_frame_energies(samples).max() + 1e-12) < _SILENCE_DBFS)


def cut(samples: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Pieces of at most 30 s, each cut at the quietest 20 ms of its 25th to 30th second."""
    pieces = []
    while len(samples) > _LATEST_CUT:
        quietest = int(_frame_energies(samples[_EARLIEST_CUT:_LATEST_CUT]).argmin())
        at = _EARLIEST_CUT + quietest * _FRAME + _FRAME // 2
        pieces.append(samples[:at])
        samples = samples[at:]
    return [*pieces, samples]


def window_for(samples: NDArray[np.float32]) -> int:
    """The shortest window, in seconds, that holds `samples` (at most 30 s of them)."""
    return next(window for window in WINDOWS if len(samples) <= window * SAMPLE_RATE)


def short_window_for(samples: NDArray[np.float32]) -> int | None:
    """The short window, in seconds, that `samples` can be tried in; None: they are too long."""
    seconds = len(samples) / SAMPLE_RATE + _MARGIN_SECONDS
    return next((window for window in SHORT_WINDOWS if seconds <= window), None)


def _frame_energies(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean square of each whole 20 ms frame."""
    frames = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME)
    return np.asarray(np.mean(frames**2, axis=1), dtype=np.float32)
