"""The schedule as it was at commit 551c41d, to compare with: the stream that would run dry first says what is done, and
all who need the same come along."""

from collections.abc import Collection

from server.workers.engines.chatterbox.costs import Costs
from server.workers.engines.chatterbox.scheduler import LEAD_SECONDS
from server.workers.engines.chatterbox.speech_tokens import TOKEN_RATE
from server.workers.engines.chatterbox.stream import Stream
from server.workers.engines.chatterbox.work import Draw, Join, Render, Rest, Work

HOPS = (19, 16, 25, 50)
_LARGEST_RENDER = 16
_DRAWN_AHEAD = 25
_HASTE_SECONDS = 1.0
_HOPS_PER_SECOND = 1.0


def next_work(streams: Collection[Stream], free_rows: int, now: float, costs: Costs) -> Work:
    """What was done at `now`."""
    hop_seconds = costs.render(_LARGEST_RENDER) / _LARGEST_RENDER
    by_due = sorted((stream for stream in streams if not stream.rendered), key=lambda stream: stream.due)
    lead = LEAD_SECONDS if all(stream.started for stream in by_due) else _HASTE_SECONDS
    at_work = [stream for stream in by_due if stream.due - now < lead]
    drawing = [stream for stream in at_work if stream.can_draw and stream.missing >= -_DRAWN_AHEAD + 1]
    rendering = [stream for stream in at_work if stream.can_render]
    joining = [stream for stream in at_work if stream.can_join] if free_rows else []
    first = min((*joining[:1], *drawing[:1], *rendering[:1]), key=lambda stream: stream.due, default=None)
    if first is None:
        return Rest(min((stream.due - lead for stream in by_due if stream not in at_work), default=None))
    if first.can_join:
        return Join(first)
    left = first.due - now
    if not first.can_render or (drawing and left > _HASTE_SECONDS and len(rendering) < _LARGEST_RENDER):
        return Draw(drawing)
    in_haste = sum(stream.due - now < _HASTE_SECONDS for stream in rendering)
    in_time = int(left / hop_seconds) if hop_seconds else _LARGEST_RENDER
    return Render(rendering[: min(max(1, in_haste, in_time), _LARGEST_RENDER)])


def admitted(costs: Costs, rows: int) -> int:
    """The streams that were admitted: as if each step were one of all of them, and each render one of sixteen."""
    audio_second = costs.render(_LARGEST_RENDER) / _LARGEST_RENDER * _HOPS_PER_SECOND
    return max((n for n in range(1, rows + 1) if TOKEN_RATE * costs.step(n) + n * audio_second <= 0.85), default=1)
