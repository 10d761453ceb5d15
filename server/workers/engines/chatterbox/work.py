"""What the device can be told to do, each with the reason why it was chosen."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from server.workers.engines.chatterbox.stream import Stream


@dataclass(frozen=True, slots=True)
class Join:
    """Read the text of a stream into a free row."""

    stream: Stream
    reason: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Draw:
    """Draw the next token of these streams, and of no others."""

    streams: Sequence[Stream]
    reason: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Render:
    """Make the next hop of these streams."""

    streams: Sequence[Stream]
    reason: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Rest:
    """There is nothing to do until `until`, or until something comes (None)."""

    until: float | None
    reason: str = field(default="", compare=False)


Work = Join | Draw | Render | Rest
