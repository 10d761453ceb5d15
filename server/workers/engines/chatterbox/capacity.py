"""How many streams can be spoken in time: reckoned from what work costs on this device, corrected by what happens.

Pure: `now` is monotonic seconds. The correction is additive increase, multiplicative decrease (Chiu and Jain 1989), as
in TCP: it finds the limit without knowing what else shares the device.
"""

import math

from server.workers.engines.chatterbox.costs import Costs
from server.workers.engines.chatterbox.speech_tokens import TOKEN_RATE
from server.workers.engines.chatterbox.stream import HOPS

_BUSY_AT_MOST = 0.9
_LESS = 0.95
_LESS_AT_MOST_EVERY = 10.0
"""Seconds, in which about a twentieth of a node's calls end: who cuts sooner cuts again for the same calls."""
_MORE_EVERY = 30.0
"""Seconds. Each step up is a try."""
_ROUNDS = 5

# What the scheduler makes of calls, as the simulator (`voicefleet bench simulate`) shows it.
_ANSWER_SECONDS = 9.0  # of speech, each of which begins with as many steps in haste as its first hop has tokens
_OTHER_STEPS = 40.0  # a second, while nobody begins: those that hops after the first wait for
_HOPS_PER_SECOND = 1.05  # of speech: short ones at the beginning of each clause, and at its end
_CLAUSE_SECONDS = 4.0


def sustainable(costs: Costs, rows: int) -> int:
    """The most agents, up to `rows`, that can all talk at once, and all the time; one at least."""
    return max((n for n in range(1, rows + 1) if _busy(costs, n) <= _BUSY_AT_MOST), default=1)


def _busy(costs: Costs, talking: int) -> float:
    """The share of its time that the device works for so many that talk."""
    tokens = TOKEN_RATE * talking
    rows = talking / 4.0
    for _ in range(_ROUNDS):  # the more rows a step has, the longer it takes, and the fewer steps there are
        step = costs.step(round(rows))
        beginning = 1.0 - math.exp(-talking / _ANSWER_SECONDS * HOPS[0] * step)  # the share of time that somebody does
        steps = beginning / step + (1.0 - beginning) * _OTHER_STEPS if step else tokens
        rows = min(max(tokens / steps, 1.0), talking)
    decoding = tokens / rows * costs.step(round(rows))
    rendering = _HOPS_PER_SECOND * talking * costs.render_each
    return decoding + rendering + talking / _CLAUSE_SECONDS * costs.join


class Capacity:
    """The limit as it stands: `limit` agents that talk at once."""

    def __init__(self, costs: Costs, rows: int) -> None:
        self.limit = self._most = sustainable(costs, rows)
        self._changed = 0.0
        self._late = 0

    def observe(self, late: int, now: float) -> None:
        """To be told after each piece of work how often audio has come too late, since the start.

        That is taken for too many streams, however many there are.
        """
        if late > self._late:
            if now - self._changed >= _LESS_AT_MOST_EVERY:
                self.limit = max(1, int(self.limit * _LESS))
                self._changed = now
        elif now - self._changed >= _MORE_EVERY and self.limit < self._most:
            self.limit += 1
            self._changed = now
        self._late = late
