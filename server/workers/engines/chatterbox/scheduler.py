"""Whose turn it is: the stream that would run dry first says what is done, and all who need the same come along.

Pure: it is asked, and runs nothing. `now` is monotonic seconds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from server.workers.engines.chatterbox.stream import Stream

LEAD_SECONDS = 4.0
"""How far ahead of its playout a stream is made; more would be lost on barge-in, and taken from others."""

LARGEST_RENDER = 16
"""Streams whose hops are made together. Beyond it a batch gains little and keeps the others waiting."""

_HASTE_SECONDS = 1.0
"""Less is left to a stream in haste. While anyone waits for first audio, the others get no more of a lead than this."""


@dataclass(frozen=True, slots=True)
class Join:
    """Read the text of a stream into a free row."""

    stream: Stream


@dataclass(frozen=True, slots=True)
class Draw:
    """Draw the next token of these streams, and of no others."""

    streams: Sequence[Stream]


@dataclass(frozen=True, slots=True)
class Render:
    """Make the next hop of these streams."""

    streams: Sequence[Stream]


@dataclass(frozen=True, slots=True)
class Rest:
    """There is nothing to do until `until`, or until something comes (None)."""

    until: float | None


Work = Join | Draw | Render | Rest


def next_work(streams: Iterable[Stream], free_rows: int, now: float, hop_seconds: float) -> Work:
    """What to do now. `hop_seconds` is what one more hop adds to a batch of them."""
    by_due = sorted((stream for stream in streams if not stream.rendered), key=lambda stream: stream.due)
    lead = LEAD_SECONDS if all(stream.started for stream in by_due) else _HASTE_SECONDS
    at_work = [stream for stream in by_due if stream.due - now < lead]
    drawing = [stream for stream in at_work if stream.can_draw]
    rendering = [stream for stream in at_work if stream.can_render]
    joining = [stream for stream in at_work if stream.can_join] if free_rows else []
    first = min((*joining[:1], *drawing[:1], *rendering[:1]), key=lambda stream: stream.due, default=None)
    if first is None:
        return Rest(min((stream.due - lead for stream in by_due if stream not in at_work), default=None))
    if first.can_join:
        return Join(first)
    left = first.due - now
    if not first.can_render or (drawing and left > _HASTE_SECONDS and len(rendering) < LARGEST_RENDER):
        return Draw(drawing)
    in_haste = sum(stream.due - now < _HASTE_SECONDS for stream in rendering)
    in_time = int(left / hop_seconds) if hop_seconds else LARGEST_RENDER
    return Render(rendering[: min(max(1, in_haste, in_time), LARGEST_RENDER)])
