"""How many streams can be spoken in time: reckoned from what work costs on this device, corrected by what happens.

Pure: `now` is monotonic seconds. The correction is additive increase, multiplicative decrease (Chiu and Jain 1989), as
in TCP: it finds the limit without knowing what else shares the device.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from server.workers.engines.chatterbox.speech_tokens import TOKEN_RATE

_BUSY_AT_MOST = 0.85
_LESS = 0.9
_LESS_AT_MOST_EVERY = 2.0
_MORE_EVERY = 30.0
"""Seconds. Each step up is a try; with one every 5 s audio is late for a tenth of the time, where costs were wrong."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Device seconds: of a step by the number of rows, of a second of audio in a large batch, of one stream's start."""

    step: Mapping[int, float]
    audio_second: float
    start: float

    def sustainable(self, rows: int) -> int:
        """The most streams, up to `rows`, that all speak in real time."""
        return max((n for n in range(1, rows + 1) if self._busy(n) <= _BUSY_AT_MOST), default=1)

    def _busy(self, streams: int) -> float:
        """The share of its time that the device works to keep so many streams speaking."""
        step = next((self.step[rows] for rows in sorted(self.step) if rows >= streams), max(self.step.values()))
        return TOKEN_RATE * step + streams * self.audio_second


class Capacity:
    """The limit as it stands: `limit` streams at once."""

    def __init__(self, costs: Costs, rows: int) -> None:
        self.limit = self._most = costs.sustainable(rows)
        self._changed = 0.0

    def was_late(self, now: float) -> None:
        """Audio came later than its caller's playout needed it: that is taken for too many streams, however many."""
        if now - self._changed >= _LESS_AT_MOST_EVERY:
            self.limit = max(1, int(self.limit * _LESS))
            self._changed = now

    def went_well(self, now: float) -> None:
        """Nothing was late just now; to be told again and again."""
        if now - self._changed >= _MORE_EVERY and self.limit < self._most:
            self.limit += 1
            self._changed = now
