"""Micro-batches: what arrived while one batch ran forms the next, so that nothing ever waits for company.

`FairQueue` decides and `MicroBatcher` runs what it decided, in a thread for each batch that may run at once. Neither
knows what is computed.
"""

import asyncio
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from server.workers.fair_queue import Entry, FairQueue, QueueFull

Job = TypeVar("Job")
Result = TypeVar("Result")


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

    def fail(self, error: Exception) -> None:
        """Whoever gave it up does not want to know any more."""
        if not self.done.done():
            self.done.set_exception(error)


class MicroBatcher(Generic[Job, Result]):
    """Runs `compute` on batches of what is submitted, `parallel` of them at once, for as long as `run()` runs."""

    def __init__(
        self,
        compute: Callable[[Sequence[Job]], Sequence[Result]],
        limit: int,
        max_batch: int,
        quantum: float,
        parallel: int = 1,
    ) -> None:
        """`limit`, `max_batch` and `quantum` are those of `FairQueue`."""
        self._compute = compute
        self._limit = limit
        self._parallel = parallel
        self._queue: FairQueue[_Pending[Job, Result]] = FairQueue(limit, max_batch, quantum)
        self._arrived = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many jobs wait for their batch."""
        return len(self._queue)

    async def submit(self, job: Job, key: Hashable, flow: Hashable, cost: float) -> Batched[Result]:
        """The job's result; for the rest, see `Entry`. Cancelling takes it out of the queue.

        Raises `QueueFull`, at once or when another call's job needs the room, or what `compute` raised.
        """
        pending: _Pending[Job, Result] = _Pending(job)
        entry = Entry(pending, key, flow, cost)
        if evicted := self._queue.add(entry):
            evicted.job.fail(QueueFull(self._limit))
        self._arrived.set()
        try:
            return await pending.done
        finally:
            self._queue.discard(entry)

    async def run(self) -> None:
        """Compute until cancelled. A batch that has begun is waited for: a thread can't be stopped."""
        with ThreadPoolExecutor(self._parallel, thread_name_prefix="inference") as threads:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self._parallel):
                    tasks.create_task(self._run_batches(threads))

    async def _run_batches(self, threads: ThreadPoolExecutor) -> None:
        """One after the other."""
        while True:
            while batch := self._queue.next_batch():
                await self._run_batch([entry.job for entry in batch], threads)
            self._arrived.clear()
            await self._arrived.wait()

    async def _run_batch(self, batch: Sequence[_Pending[Job, Result]], threads: ThreadPoolExecutor) -> None:
        started = time.monotonic()
        jobs = [pending.job for pending in batch]
        try:
            results = await asyncio.get_running_loop().run_in_executor(threads, self._compute, jobs)
        except Exception as error:
            if len(batch) == 1:
                batch[0].fail(error)
            else:  # the fault may be one job's, and the others are other calls'
                for pending in batch:
                    await self._run_batch([pending], threads)
            return
        seconds = time.monotonic() - started
        for pending, result in zip(batch, results, strict=True):
            if not pending.done.done():
                pending.done.set_result(Batched(result, started - pending.since, seconds, len(batch)))
