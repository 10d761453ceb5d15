"""A caller's loudspeaker without a loudspeaker: what was heard when, and when it ran dry.

Pure. `now` is monotonic seconds.
"""

from array import array

import numpy as np

from server.audio import Samples

# 40 dB below full scale: quieter than any voice on a telephone line, louder than its noise.
AUDIBLE = 328


class Playout:
    """Plays one answer as it arrives. `rate` is its sample rate in Hz.

    `margins` lists how many seconds of audio were in hand when each chunk but the first arrived, below zero where it
    came too late.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.margins = array("d")
        self.first_audible_at: float | None = None
        self._ends_at = 0.0
        self._chunks: list[Samples] = []

    def add(self, samples: Samples, now: float) -> None:
        """More of the answer has arrived."""
        if self._chunks:
            self.margins.append(self._ends_at - now)
        self._ends_at = max(now, self._ends_at) + len(samples) / self.rate
        self._chunks.append(samples)
        if self.first_audible_at is None and is_audible(samples):
            self.first_audible_at = now

    @property
    def underruns(self) -> int:
        """How often it ran dry in the middle."""
        return sum(margin < 0 for margin in self.margins)

    @property
    def ends_at(self) -> float:
        """When the last sample that has arrived will have been played."""
        return self._ends_at

    @property
    def samples(self) -> Samples:
        """The whole answer."""
        return np.concatenate(self._chunks) if self._chunks else np.zeros(0, np.int16)


def is_audible(samples: Samples) -> bool:
    """Whether a person would hear anything."""
    return bool(np.any(np.abs(samples.astype(np.int32)) >= AUDIBLE))


def first_audible(samples: Samples) -> int:
    """Index of the first audible sample; their number where there is none."""
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) >= AUDIBLE)
    return int(loud[0]) if len(loud) else len(samples)


def last_audible(samples: Samples) -> int:
    """Index just after the last audible sample; 0 where there is none."""
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) >= AUDIBLE)
    return int(loud[-1]) + 1 if len(loud) else 0
