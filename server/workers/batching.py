"""Micro-batches: what arrived while one batch ran forms the next, so that nothing ever waits for company.

`BatchQueue` decides and `MicroBatcher` runs what it decided in one thread. Neither knows what is computed.
"""

import asyncio
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from server.errors import VoicefleetError

Job = TypeVar("Job")
Result = TypeVar("Result")


class QueueFull(VoicefleetError):
    """So many jobs wait already that one more would only come too late."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the queue is full: {limit} are waiting already")


@dataclass(eq=False, slots=True)
class Entry(Generic[Job]):
    """A job in the queue. Only jobs with equal keys may share a batch."""

    job: Job
    key: Hashable


class BatchQueue(Generic[Job]):
    """Decides which waiting jobs run together: the oldest, and the oldest of its kind beside it. Pure."""

    def __init__(self, limit: int, max_batch: int) -> None:
        self._limit = limit
        self._max_batch = max_batch
        self._waiting: list[Entry[Job]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, entry: Entry[Job]) -> None:
        """Raises `QueueFull`."""
        if len(self._waiting) >= self._limit:
            raise QueueFull(self._limit)
        self._waiting.append(entry)

    def discard(self, entry: Entry[Job]) -> None:
        """Take `entry` out, if it still waits."""
        with suppress(ValueError):
            self._waiting.remove(entry)

    def next_batch(self) -> list[Entry[Job]]:
        """Take out what is to run now; empty when nothing waits."""
        if not self._waiting:
            return []
        kind = self._waiting[0].key
        batch = [entry for entry in self._waiting if entry.key == kind][: self._max_batch]
        self._waiting = [entry for entry in self._waiting if entry not in batch]
        return batch


@dataclass(frozen=True, slots=True)
class Batched(Generic[Result]):
    """A job's result, how long it waited for its batch, and that batch's own time and size."""

    result: Result
    queue_seconds: float
    inference_seconds: float
    batch_size: int


@dataclass(slots=True)
class _Pending(Generic[Job, Result]):
    job: Job
    since: float = field(default_factory=time.monotonic)
    done: "asyncio.Future[Batched[Result]]" = field(default_factory=asyncio.Future)


class MicroBatcher(Generic[Job, Result]):
    """Runs `compute` on batches of what is submitted, in one thread, for as long as `run()` runs."""

    def __init__(self, compute: Callable[[Sequence[Job]], Sequence[Result]], limit: int, max_batch: int) -> None:
        """`limit` is how many may wait, `max_batch` how many run at once."""
        self._compute = compute
        self._queue: BatchQueue[_Pending[Job, Result]] = BatchQueue(limit, max_batch)
        self._arrived = asyncio.Event()

    async def submit(self, job: Job, key: Hashable) -> Batched[Result]:
        """The job's result. Cancelling takes it out of the queue. Raises `QueueFull`, or what `compute` raised."""
        pending: _Pending[Job, Result] = _Pending(job)
        entry = Entry(pending, key)
        self._queue.add(entry)
        self._arrived.set()
        try:
            return await pending.done
        finally:
            self._queue.discard(entry)

    async def run(self) -> None:
        """Compute until cancelled. A batch that has begun is waited for: a thread can't be stopped."""
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="inference") as thread:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                while batch := self._queue.next_batch():
                    await self._run_batch([entry.job for entry in batch], thread)

    async def _run_batch(self, batch: Sequence[_Pending[Job, Result]], thread: ThreadPoolExecutor) -> None:
        started = time.monotonic()
        jobs = [pending.job for pending in batch]
        try:
            results = await asyncio.get_running_loop().run_in_executor(thread, self._compute, jobs)
        except Exception as error:
            for pending in batch:
                if not pending.done.done():
                    pending.done.set_exception(error)
            return
        seconds = time.monotonic() - started
        for pending, result in zip(batch, results, strict=True):
            if not pending.done.done():
                pending.done.set_result(Batched(result, started - pending.since, seconds, len(batch)))
