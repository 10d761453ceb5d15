"""Which streams draw a token now: T3's part of the schedule.

Pure. A step costs nearly the same for one row as for many, so it waits until many streams can take part, unless one of
them has no time to wait; then all who can come along. So most tokens are drawn in steps that somebody else needed.
"""

import math
from collections.abc import Sequence

from server.workers.engines.chatterbox.costs import Costs
from server.workers.engines.chatterbox.render_policy import RESERVE_SECONDS
from server.workers.engines.chatterbox.stream import Stream
from server.workers.engines.chatterbox.work import Draw, Join

_ENOUGH = 0.5
"""The share of all streams for which a step does not wait any longer."""

_COMPANY = 2.5
"""How much longer a step for first audio may take so that others draw in it too. With less, the others are late once
there are too many calls, and their hops are made one by one: with 1.5 a simulated H200 makes half the audio then."""

_JOINED_AHEAD_SECONDS = 0.5
"""How long before it is due a piece that follows another one has to have its row."""


def join_in_danger(joining: Sequence[Stream], now: float) -> Join | None:
    """Whoever is silent yet and needs a row, or will soon have to be heard."""
    pressing = (stream for stream in joining if not stream.started or stream.due - now < _JOINED_AHEAD_SECONDS)
    first = next(pressing, None)
    return Join(first, "first audio" if not first.started else "would run dry") if first else None


def join(joining: Sequence[Stream]) -> Join | None:
    """Whoever needs a row, to take part in steps as they come."""
    return Join(joining[0], "a free row") if joining else None


def first_tokens(drawing: Sequence[Stream], costs: Costs) -> Draw | None:
    """Tokens of those who are silent yet, and of others as long as the step takes hardly longer."""
    silent = [stream for stream in drawing if not stream.started]
    if not silent:
        return None
    others = [stream for stream in drawing if stream.started]
    longest = _COMPANY * costs.step(len(silent))
    together = sum(costs.step(size) <= longest for size in range(len(silent) + 1, len(drawing) + 1))
    return Draw([*silent, *others[:together]], "first audio")


def tokens_in_danger(drawing: Sequence[Stream], now: float, costs: Costs) -> Draw | None:
    """The tokens of everybody, if anybody's next hop would be late otherwise."""
    return Draw(drawing, "would run dry") if drawing and latest(drawing, costs) <= now else None


def latest(drawing: Sequence[Stream], costs: Costs) -> float:
    """When the first of them, of whom there are some, has to begin with its next hop's tokens."""
    step = costs.step(len(drawing))
    spare = costs.render(costs.render_batch) + RESERVE_SECONDS
    needed = (stream.due - stream.missing * step for stream in drawing if stream.missing > 0)
    return min(needed, default=math.inf) - spare


def together(drawing: Sequence[Stream], streams: int) -> Draw | None:
    """The tokens of all who can draw, once they are half of all `streams`."""
    if not drawing or len(drawing) < _ENOUGH * streams:
        return None
    return Draw(drawing, "enough together")
