"""Which hops are made now, and with how many others: the flow's and the vocoder's part of the schedule.

Pure. A render holds up everything else for as long as it takes, so it is no larger than it has to be: beyond a certain
number of hops a batch saves nothing, and its first hop waits for its last.
"""

from collections.abc import Sequence

from server.workers.engines.chatterbox.costs import LARGEST_RENDER, Costs
from server.workers.engines.chatterbox.stream import Stream
from server.workers.engines.chatterbox.work import Render

RESERVE_SECONDS = 0.1
"""What is begun so long before its stream would run dry is not late, whatever comes between."""

_LEAST_RESERVE_SECONDS = 0.05
"""As much as that is kept while somebody waits for first audio."""

_NO_TIME = 1.1
"""What is added to the hops of those who wait for first audio may make these take that much longer."""


def in_danger(ready: Sequence[Stream], now: float, costs: Costs, reserve: float = RESERVE_SECONDS) -> int:
    """How many of the `ready` hops, by their streams' `due`, have to be begun now: the last of them would be late."""
    return max(
        (count for count, stream in enumerate(ready, 1) if stream.due - now < costs.render(count) + reserve),
        default=0,
    )


def first_hops(ready: Sequence[Stream], now: float, costs: Costs) -> Render | None:
    """The hops of streams that are silent yet, and others as far as they cost those no time."""
    silent = [stream for stream in ready if not stream.started]
    if not silent:
        return None
    silent = silent[: costs.render_batch]
    others = [stream for stream in ready if stream.started]
    alone = costs.render(len(silent))
    as_quick = sum(costs.render(size) <= _NO_TIME * alone for size in range(len(silent) + 1, LARGEST_RENDER + 1))
    pressing = min(in_danger(others, now, costs), costs.render_batch - len(silent))
    return Render([*silent, *others[: max(as_quick, pressing)]], "first audio")


def hops_in_danger(ready: Sequence[Stream], now: float, costs: Costs, somebody_waits: bool) -> Render | None:
    """The hops that would be late otherwise. `somebody_waits` for first audio: then not before they have to be made."""
    if not in_danger(ready, now, costs, _LEAST_RESERVE_SECONDS if somebody_waits else RESERVE_SECONDS):
        return None
    return Render(ready[: costs.render_batch], "would run dry")


def full_batch(ready: Sequence[Stream], costs: Costs) -> Render | None:
    """As many hops as are worth making together, once there are so many."""
    return Render(ready[: costs.render_batch], "a full batch") if len(ready) >= costs.render_batch else None


def whatever_is_ready(ready: Sequence[Stream], costs: Costs) -> Render | None:
    """Fewer hops than are worth it, while the device has nothing else to do."""
    return Render(ready[: costs.render_batch], "nothing else to do") if ready else None
