"""What work costs on this device, in seconds: what calibration finds out, and what the policies and admission go by.

Pure.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LARGEST_RENDER = 16
"""Streams whose hops are made together at most."""

ROWS_MEASURED = (1, 8, 32, 64, 128, 256)
HOPS_MEASURED = (1, 4, 8, LARGEST_RENDER)
CLAUSE_TOKENS = 96
"""What is spoken to be measured: a clause as long as most."""

_WORTH = 1.25
"""What a hop in a batch may cost of what it costs in the best batch: a larger batch would keep the others waiting."""


class Curve:
    """Seconds by the size of a batch: straight lines between the sizes that were measured, and on beyond the last."""

    def __init__(self, measured: Mapping[int, float]) -> None:
        """At least one size. A larger batch never counts as cheaper than a smaller one, whatever noise measured."""
        self._sizes: Sequence[int] = sorted(measured)
        self._seconds: list[float] = []
        for size in self._sizes:
            self._seconds.append(max(measured[size], self._seconds[-1] if self._seconds else 0.0))

    def __call__(self, size: int) -> float:
        """Of a batch of so many."""
        sizes, seconds = self._sizes, self._seconds
        if size <= sizes[0] or len(sizes) == 1:
            return seconds[0] * max(1.0, size / sizes[0])
        right = min(bisect_left(sizes, size), len(sizes) - 1)
        left = right - 1
        slope = (seconds[right] - seconds[left]) / (sizes[right] - sizes[left])
        return seconds[left] + slope * (size - sizes[left])


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds that the device, or the host if that takes longer, needs for each kind of work."""

    step: Curve
    """A token of each of so many rows, of the length that rows have in service."""
    render: Curve
    """A hop of each of so many streams."""
    join: float
    """Reading one text into a row."""
    render_batch: int
    """Hops beyond which a larger batch saves next to nothing."""

    @classmethod
    def of(cls, step: Mapping[int, float], render: Mapping[int, float], join: float) -> "Costs":
        """From what was measured, each at one size at least."""
        curve = Curve(render)
        least = min(curve(hops) / hops for hops in range(1, LARGEST_RENDER + 1))
        batch = next(hops for hops in range(1, LARGEST_RENDER + 1) if curve(hops) / hops <= _WORTH * least)
        return cls(Curve(step), curve, join, batch)

    @property
    def render_each(self) -> float:
        """A hop of a batch that is large enough."""
        return self.render(self.render_batch) / self.render_batch


NOTHING = Costs(Curve({1: 0.0}), Curve({1: 0.0}), 0.0, LARGEST_RENDER)
"""Before anything was measured: all that can be made together is."""
