"""What is done next: first audio first, nobody's playout dry, and else in batches that are worth it.

Pure: it is asked, and runs nothing. `now` is monotonic seconds. Each kind of work has a policy of its own
(`decode_policy`, `render_policy`); here they are put in order.
"""

from collections.abc import Callable, Collection, Sequence

from server.workers.engines.chatterbox import decode_policy, render_policy
from server.workers.engines.chatterbox.costs import Costs
from server.workers.engines.chatterbox.stream import Stream
from server.workers.engines.chatterbox.work import Rest, Work

LEAD_SECONDS = 4.0
"""How far ahead of its playout a stream is made; more would be lost on barge-in, and taken from others."""

Policy = Callable[[Collection[Stream], int, float, Costs], Work]


def next_work(streams: Collection[Stream], free_rows: int, now: float, costs: Costs) -> Work:
    """What to do now for `streams`, of which `free_rows` more can be given a row."""
    by_due = sorted((stream for stream in streams if not stream.rendered), key=lambda stream: stream.due)
    at_work = [stream for stream in by_due if stream.due - now < LEAD_SECONDS]
    ready = [stream for stream in at_work if stream.can_render]
    drawing = [stream for stream in at_work if stream.can_draw]
    joining = [stream for stream in at_work if stream.can_join] if free_rows else []
    somebody_waits = any(not stream.started for stream in at_work if stream.joined or free_rows)
    return (
        render_policy.first_hops(ready, now, costs)
        or render_policy.hops_in_danger(ready, now, costs, somebody_waits)
        or decode_policy.join_in_danger(joining, now)
        or decode_policy.first_tokens(drawing, costs)
        or decode_policy.tokens_in_danger(drawing, now, costs)
        or decode_policy.join(joining)
        or render_policy.full_batch(ready, costs)
        or decode_policy.together(drawing, len(by_due))
        or render_policy.whatever_is_ready(ready, costs)
        or _rest(by_due, drawing, now, costs)
    )


def _rest(by_due: Sequence[Stream], drawing: Sequence[Stream], now: float, costs: Costs) -> Rest:
    """Until the next stream has lost its lead, or has no more time to wait for others."""
    times = [stream.due - LEAD_SECONDS for stream in by_due if stream.due - now >= LEAD_SECONDS]
    if drawing:
        times.append(decode_policy.latest(drawing, costs))
    return Rest(min(times, default=None), "all have their lead")
