"""How many calls the streams of the speech workers are good for: agents talk for a part of a call only.

Pure: `now` is monotonic seconds. It refuses nobody; `Admission` does, at a call's start.
"""

import math
from statistics import NormalDist

_OFTEN = 0.2
"""The share of the time for which more agents may talk than there are streams. It is not heard: streams are reckoned
for agents that never stop and leave a tenth of the device's time, and audio is made seconds ahead of its playout. With
0.01 a node refuses calls for which it has room (`voicefleet bench simulate`)."""

_QUANTILE = NormalDist().inv_cdf(1.0 - _OFTEN)

_FIRST_RATIO = 0.6
"""More than agents talk as a rule, until it is known how much they do here."""

_FIRST_SECONDS = 600.0
"""Of calls: what `_FIRST_RATIO` counts for beside what is measured."""

_MEMORY_SECONDS = 21_600.0
"""Of calls, after which what was measured counts for a third: 12 minutes where there are 30 calls."""

_LOWEST_RATIO, _HIGHEST_RATIO = 0.25, 1.0
_STEP = 0.05  # what is passed on: the number of calls does not change at every sentence


class TalkShare:
    """How much speech a second of a call needs of the workers: all that is made counts, be it heard or not."""

    def __init__(self) -> None:
        self._call_seconds = _FIRST_SECONDS
        self._speech_seconds = _FIRST_SECONDS * _FIRST_RATIO
        self._seen: tuple[float, float] | None = None

    def observe(self, now: float, calls: float, speech_seconds: float) -> None:
        """So many places were taken since the last time; `speech_seconds` were made since the start, in all."""
        if self._seen:
            then, before = self._seen
            seconds = calls * (now - then)
            kept = math.exp(-seconds / _MEMORY_SECONDS)
            self._call_seconds = self._call_seconds * kept + seconds
            self._speech_seconds = self._speech_seconds * kept + speech_seconds - before
        self._seen = now, speech_seconds

    @property
    def ratio(self) -> float:
        """0.25 to 1, in steps of 0.05, rounded up."""
        measured = math.ceil(self._speech_seconds / self._call_seconds / _STEP - 1e-9) * _STEP
        return min(_HIGHEST_RATIO, max(_LOWEST_RATIO, round(measured, 2)))


def calls_for(streams: int, talk_share: float) -> int:
    """The most calls of which, 80 % of the time, no more than `streams` agents talk; never fewer than `streams`.

    Each agent talks for `talk_share` of the time, whatever the others do, so that the number of those who talk is
    binomial, and nearly normal: calls · share + z · √(calls · share · (1 - share)) ≤ streams, solved for √calls.
    """
    spread = _QUANTILE * math.sqrt(talk_share * (1.0 - talk_share))
    root = (math.sqrt(spread**2 + 4.0 * talk_share * streams) - spread) / (2.0 * talk_share)
    return max(streams, int(root**2))
