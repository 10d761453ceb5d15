"""What the scheduler chose lately, and why: for whoever wants to know what a stream waited for.

Pure. It holds the last choices only, and those that say the same as the one before are one.
"""

from collections import deque
from dataclasses import dataclass

from server.workers.engines.chatterbox.work import Join, Rest, Work


@dataclass(slots=True)
class Choice:
    """What was chosen at `at`, monotonic seconds, `times` in a row, for so many streams in the last of them."""

    at: float
    work: str
    reason: str
    streams: int
    times: int = 1


class Trace:
    """The last `length` choices."""

    def __init__(self, length: int) -> None:
        self.choices: deque[Choice] = deque(maxlen=length)

    def add(self, at: float, work: Work) -> None:
        """`work` was chosen."""
        kind = type(work).__name__.lower()
        streams = 0 if isinstance(work, Rest) else 1 if isinstance(work, Join) else len(work.streams)
        last = self.choices[-1] if self.choices else None
        if last and (last.work, last.reason) == (kind, work.reason):
            last.streams = streams
            last.times += 1
        else:
            self.choices.append(Choice(at, kind, work.reason, streams))
