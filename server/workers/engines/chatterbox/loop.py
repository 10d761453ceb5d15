"""The engine's loop and its books, without a device: what is done next, and what came of it.

Pure: `core.Core` puts the work on a device, the simulator (`server.bench.simulation`) only reckons how long it would
take, and both run this loop. It holds one piece of work in flight, so that the device never waits for the host to look
at a token.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from server.workers.engines.chatterbox.costs import NOTHING, Costs
from server.workers.engines.chatterbox.rows import Rows
from server.workers.engines.chatterbox.scheduler import Policy, next_work
from server.workers.engines.chatterbox.stream import Stream
from server.workers.engines.chatterbox.trace import Trace
from server.workers.engines.chatterbox.work import Draw, Join, Render, Rest


class Launched(Protocol):
    """Work that the device has been given."""

    @property
    def ready(self) -> bool:
        """Whether its results are there."""
        ...


Flight = TypeVar("Flight", bound=Launched)


class Device(Protocol[Flight]):
    """Who does the work."""

    def launch(self, work: Join | Draw | Render) -> Flight | None:
        """Put it on the device, without waiting for it. None: nothing will come of it."""
        ...

    def take(self, launched: Flight) -> None:
        """Wait for what comes of it, and enter it in the loop's books."""
        ...


@dataclass(slots=True)
class Totals:
    """What was done since the start, in device work."""

    joins: int = 0
    steps: int = 0
    tokens: int = 0
    renders: int = 0
    hops: int = 0
    audio_seconds: float = 0.0
    busy_seconds: float = 0.0
    late: int = 0
    shed: int = 0


class Loop(Generic[Flight]):
    """One piece of work after the other, for `streams`, which are whoever owns the device's to keep."""

    def __init__(
        self,
        device: Device[Flight],
        streams: Collection[Stream],
        rows: Rows[Stream],
        clock: Callable[[], float],
        policy: Policy = next_work,
    ) -> None:
        """`clock` gives monotonic seconds; `policy` chooses."""
        self.totals = Totals()
        self.costs: Costs = NOTHING
        self.rows = rows
        self.trace: Trace | None = None
        self._device = device
        self._streams = streams
        self._clock = clock
        self._policy = policy
        self._launched: Flight | None = None

    def advance(self) -> Rest | None:
        """Begin one piece of work and take what came of the one before; `Rest` when there is none."""
        began = self._clock()
        self._take_last(wait=False)  # or audio that is there would wait until the next hop is begun
        work = self._policy(self._streams, self.rows.size - self.rows.used, began, self.costs)
        if self.trace:
            self.trace.add(began, work)
        launched = None if isinstance(work, Rest) else self._device.launch(work)
        took = self._take_last(wait=True)
        self._launched = launched
        if isinstance(work, Rest) and not took:
            return work
        self.totals.busy_seconds += self._clock() - began
        return None

    def joined(self, stream: Stream) -> None:
        """`stream` has a row, and its next token is being drawn."""
        stream.joined = True
        stream.drawn += 1
        self.totals.joins += 1
        self.totals.tokens += 1

    def brought_forward(self, streams: Collection[Stream]) -> Sequence[Stream]:
        """Those of `streams` that are still there, by row: they have the first ones now."""
        drawing = {stream for stream in streams if stream in self._streams}
        self.rows.bring_forward(drawing)
        return self.rows.owners[: len(drawing)]

    def drawing(self, streams: Sequence[Stream]) -> None:
        """The next token of each of them is being drawn."""
        for stream in streams:
            stream.drawn += 1
        self.totals.steps += 1
        self.totals.tokens += len(streams)

    def drew(self, streams: Sequence[Stream], tokens: Sequence[int]) -> None:
        """These tokens have come back; a stream that has all of its own frees its row."""
        for stream, token in zip(streams, tokens, strict=True):
            if stream in self._streams:
                stream.drew(token)
                if stream.complete:
                    self.rows.leave(stream)

    def rendering(self, hops: int) -> None:
        """So many hops are being made together."""
        self.totals.renders += 1
        self.totals.hops += hops

    def heard(self, stream: Stream, seconds: float) -> None:
        """So much audio of `stream` has left."""
        self.totals.audio_seconds += seconds
        self.totals.late += stream.heard(seconds, self._clock())

    def _take_last(self, wait: bool) -> bool:
        """Take what came of the work before, if anything did; without `wait` only if it is there."""
        launched = self._launched
        if launched is None or not (wait or launched.ready):
            return False
        self._launched = None
        self._device.take(launched)
        return True
