"""Where a recording is quiet between words, and the same recording with more quiet there.

Pure numpy on int16 mono samples at `RATE`. Gaps are found by energy, so that a recording needs no alignment; one may
lie within a word, where the lips are closed, which is why those at the ends are left alone.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from server.audio import Samples
from server.client.caller import WIRE_RATE
from server.client.playout import first_audible, last_audible

RATE = WIRE_RATE
# On a telephone line speech is some 60 dB above what is between words, a soft consonant some 20 dB below a vowel.
_QUIET_DB = 25.0
_FRAME = RATE // 100
_SMOOTHED_FRAMES = 3
# "exit" has its last closure 0.15 s before its end: a hesitation there would be none.
_FROM_START_SECONDS, _FROM_END_SECONDS = 0.25, 0.5
_SHORTEST_GAP_SECONDS = 0.06
_NATURAL_PAUSE_SECONDS = 0.2
_MARGIN_SECONDS = 0.03
_FADE = RATE // 200
_LOUDEST_ROOM_DB = -55.0  # of a recording that is cut tightly nothing is quiet


class Pause(NamedTuple):
    """Quiet within what is said; seconds from the first sample."""

    start: float
    end: float


def word_gaps(samples: Samples) -> list[Pause]:
    """Where words part, away from both ends, the longest quiet first."""
    start = first_audible(samples) / RATE + _FROM_START_SECONDS
    end = last_audible(samples) / RATE - _FROM_END_SECONDS
    gaps = [gap for gap in _quiet(samples, _SHORTEST_GAP_SECONDS) if gap.start >= start and gap.end <= end]
    return sorted(gaps, key=lambda gap: gap.start - gap.end)


def natural_pauses(samples: Samples) -> tuple[Pause, ...]:
    """The pauses of at least 0.2 s that the speaker made."""
    start, end = first_audible(samples) / RATE, last_audible(samples) / RATE
    return tuple(gap for gap in _quiet(samples, _NATURAL_PAUSE_SECONDS) if gap.start >= start and gap.end <= end)


def opened(samples: Samples, gap: Pause, seconds: float) -> Samples:
    """The recording with `seconds` more of its own quiet in the middle of a gap."""
    middle = round((gap.start + gap.end) / 2 * RATE)
    before, after = samples[:middle].copy(), samples[middle:].copy()
    return np.concatenate((_faded_out(before), _room_tone(samples, seconds), _faded_out(after[::-1])[::-1]))


def joined(parts: Sequence[Samples], seconds: float) -> tuple[Samples, tuple[Pause, ...]]:
    """Recordings said one after the other with so much quiet in between, and where that lies."""
    pieces: list[Samples] = []
    pauses: list[Pause] = []
    at = 0
    for part in parts:
        spoken = _spoken(part)
        if pieces:
            pauses.append(Pause(at / RATE, at / RATE + seconds))
            pieces.append(_room_tone(part, seconds))
            at += len(pieces[-1])
        pieces.append(spoken)
        at += len(spoken)
    return np.concatenate(pieces), tuple(pauses)


def _quiet(samples: Samples, shortest: float) -> list[Pause]:
    level = _levels(samples)
    quiet = level < np.percentile(level, 95) - _QUIET_DB
    edges = np.flatnonzero(np.diff(np.concatenate(([False], quiet, [False])).astype(np.int8)))
    spans = [Pause(start * _FRAME / RATE, end * _FRAME / RATE) for start, end in edges.reshape(-1, 2).tolist()]
    return [span for span in spans if span.end - span.start >= shortest - 1e-9]


def _levels(samples: Samples) -> NDArray[np.float64]:
    """dB below full scale of each 10 ms and its two neighbours."""
    frames = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME).astype(np.float64)
    power = np.convolve((frames**2).mean(axis=1), np.full(_SMOOTHED_FRAMES, 1 / _SMOOTHED_FRAMES), "same")
    levels: NDArray[np.float64] = 10 * np.log10(power / 32768.0**2 + 1e-12)
    return levels


def _room_tone(samples: Samples, seconds: float) -> Samples:
    """Noise as loud as the quietest of the recording: digital silence there would be a sign that no line gives."""
    rms = 32768.0 * 10 ** (min(np.percentile(_levels(samples), 3), _LOUDEST_ROOM_DB) / 20)
    noise = np.random.default_rng(0).normal(0.0, rms, round(seconds * RATE))
    return np.rint(noise).clip(-32768, 32767).astype(np.int16)


def _spoken(samples: Samples) -> Samples:
    """What is audible, with a little around it."""
    margin = round(_MARGIN_SECONDS * RATE)
    return samples[max(0, first_audible(samples) - margin) : last_audible(samples) + margin]


def _faded_out(samples: Samples) -> Samples:
    """With its last 5 ms faded, so that no click is cut into it."""
    fade = min(_FADE, len(samples))
    samples[len(samples) - fade :] = samples[len(samples) - fade :] * np.linspace(1.0, 0.0, fade)
    return samples
