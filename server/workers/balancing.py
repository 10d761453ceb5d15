"""Which of several workers a clause is asked of, and what follows when one refuses, dies or hangs.

Pure: `now` is monotonic seconds. It opens no channel and waits for nothing; `TtsProcessor` does.
"""

import itertools
import math
import random
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

CHECKS_MISSED = 3
"""Health checks in a row that a worker may leave unanswered before it counts as gone: a busy one is only slow."""

FAILED_REST_SECONDS = 5.0
"""A worker whose stream failed comes last for so long: one that hangs has no work left and would draw every clause."""

REFUSED_REST_SECONDS = 0.25
"""The same after a refusal: its streams may be another gateway's."""

BUSY_SECONDS = 1.5
"""How long a clause may be refused everywhere before it is given up: better a little late than not at all."""

BUSY_PAUSE_SECONDS = 0.2
"""Between two rounds of refusals, give or take half, so that those refused together do not all come back at once."""

RESTART_SECONDS = 10.0
"""How long a clause waits for a worker to come back, once."""


@dataclass(slots=True)
class _Worker:
    healthy: bool = False
    streams: int = 0
    outstanding: int = 0
    missed: int = 0
    checked_at: float = -math.inf  # when the last check that was answered was asked
    failed_at: float = -math.inf
    rests_until: float = -math.inf
    chosen: int = 0  # a running number: the smaller, the longer ago

    @property
    def usable(self) -> bool:
        """A stream that failed says more than a check from before it."""
        return self.healthy and self.checked_at >= self.failed_at


class Balancer:
    """What is known of each worker: its health, the streams it can speak, those in flight from here."""

    def __init__(self, addresses: Iterable[str]) -> None:
        self._workers = {address: _Worker() for address in addresses}
        self._count = itertools.count(1)

    @property
    def addresses(self) -> list[str]:
        """Every worker's address, in the order given, each once."""
        return list(self._workers)

    def healthy(self, address: str) -> bool:
        """Whether the worker serves, as far as its checks say."""
        return self._workers[address].healthy

    def usable(self, address: str) -> bool:
        """Whether the worker may be asked: it serves, and no stream of its failed since it was last looked at."""
        return self._workers[address].usable

    def outstanding(self, address: str) -> int:
        """Streams in flight from here."""
        return self._workers[address].outstanding

    def streams(self, address: str) -> int:
        """Streams that the worker says it can speak at once; 0: not known, or it does not serve."""
        worker = self._workers[address]
        return worker.streams if worker.healthy else 0

    @property
    def capacity(self) -> int | None:
        """Streams that the healthy workers can speak at once; None if one of them does not know its number."""
        streams = [worker.streams for worker in self._workers.values() if worker.healthy]
        return sum(streams) if all(streams) else None

    def checked(self, address: str, asked_at: float, healthy: bool | None, streams: int = 0) -> None:
        """A health check that was asked at `asked_at` was answered so; None: not in time. `streams` 0: not known."""
        worker = self._workers[address]
        if healthy is None:
            worker.missed += 1
            worker.healthy = worker.healthy and worker.missed < CHECKS_MISSED
            return
        worker.missed = 0
        worker.healthy, worker.streams, worker.checked_at = healthy, streams, asked_at

    def failed(self, address: str, now: float) -> None:
        """A stream of the worker's broke or hung: it is asked nothing until a check from now on finds it well."""
        worker = self._workers[address]
        worker.failed_at = now
        worker.rests_until = now + FAILED_REST_SECONDS

    def refused(self, address: str, now: float) -> None:
        """The worker had no room for one more stream."""
        worker = self._workers[address]
        worker.rests_until = max(worker.rests_until, now + REFUSED_REST_SECONDS)

    def choose(self, now: float, excluded: Collection[str] = ()) -> str | None:
        """The usable worker with the least streams in flight, of equals the one least lately chosen.

        One that rests comes after all others. None: there is none but the `excluded`.
        """
        usable = [address for address, worker in self._workers.items() if worker.usable and address not in excluded]

        def rank(address: str) -> tuple[bool, int, int]:
            worker = self._workers[address]
            return now < worker.rests_until, worker.outstanding, worker.chosen

        return min(usable, key=rank, default=None)

    @contextmanager
    def asked(self, address: str) -> Iterator[None]:
        """A stream is in flight at the worker inside the block."""
        worker = self._workers[address]
        worker.chosen = next(self._count)
        worker.outstanding += 1
        try:
            yield
        finally:
            worker.outstanding -= 1


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask this worker for what is left of the clause."""

    address: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Every worker refused: ask for the next step again after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class WaitForWorker:
    """No worker is well: ask for the next step again once anything changed, or after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The clause can't be spoken."""


Step = Ask | Pause | WaitForWorker | GiveUp


class Attempts:
    """The tries of one clause.

    Each worker may fail it once. Where there was no second to ask, the clause waits once for one that is well, be it
    the same after its restart. While all that are well refuse, they are asked again for `BUSY_SECONDS`.
    """

    def __init__(self, balancer: Balancer, jitter: Callable[[], float] = random.random) -> None:
        """`jitter` gives 0 to 1."""
        self._balancer = balancer
        self._jitter = jitter
        self._failed: set[str] = set()
        self._refused: set[str] = set()
        self._refused_until: float | None = None
        self._waits_until: float | None = None

    def next(self, now: float) -> Step:
        """What to do now; after `Ask`, tell how it went, unless it went well."""
        if address := self._balancer.choose(now, self._failed | self._refused):
            return Ask(address)
        if self._refused_until is not None and self._refused:
            pause = BUSY_PAUSE_SECONDS * (0.5 + self._jitter())
            if now + pause > self._refused_until:
                return GiveUp()
            self._refused.clear()
            return Pause(pause)
        if self._waits_until is None and len(self._failed) < 2:
            self._waits_until = now + RESTART_SECONDS
            self._failed.clear()
        if self._waits_until is not None and not self._failed and now < self._waits_until:
            return WaitForWorker(self._waits_until - now)
        return GiveUp()

    def failed(self, address: str, now: float) -> None:
        """The worker died, hung or failed under the clause."""
        self._failed.add(address)
        self._balancer.failed(address, now)

    def refused(self, address: str, now: float) -> None:
        """The worker had no room."""
        self._refused.add(address)
        if self._refused_until is None:
            self._refused_until = now + BUSY_SECONDS
        self._balancer.refused(address, now)
