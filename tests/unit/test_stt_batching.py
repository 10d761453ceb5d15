"""The micro-batcher: its decisions, and the shell that carries them out."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.workers.batching import BatchQueue, Entry, MicroBatcher, QueueFull


def _queue(keys: str, limit: int = 100, max_batch: int = 3) -> BatchQueue[int]:
    queue: BatchQueue[int] = BatchQueue(limit, max_batch)
    for number, key in enumerate(keys):
        queue.add(Entry(number, key))
    return queue


def _drain(queue: BatchQueue[int]) -> list[list[int]]:
    batches = []
    while batch := queue.next_batch():
        batches.append([entry.job for entry in batch])
    return batches


def test_the_oldest_takes_its_own_kind_along() -> None:
    assert _drain(_queue("abab")) == [[0, 2], [1, 3]]


def test_a_batch_is_no_larger_than_allowed() -> None:
    assert _drain(_queue("aaaaa")) == [[0, 1, 2], [3, 4]]


def test_an_empty_queue_gives_no_batch() -> None:
    assert _queue("").next_batch() == []


def test_a_full_queue_says_so_with_its_limit() -> None:
    queue = _queue("aa", limit=2)
    with pytest.raises(QueueFull, match="2 are waiting"):
        queue.add(Entry(2, "a"))


def test_a_discarded_entry_never_runs_and_one_that_runs_may_be_discarded() -> None:
    queue: BatchQueue[int] = BatchQueue(2, 1)
    entries = [Entry(0, "a"), Entry(1, "a")]
    for entry in entries:
        queue.add(entry)
    queue.discard(entries[1])
    assert [entry.job for entry in queue.next_batch()] == [0]
    queue.discard(entries[0])
    assert len(queue) == 0


@given(st.text("abc", max_size=30), st.integers(1, 5))
def test_all_run_once_and_in_order_among_their_kind(keys: str, max_batch: int) -> None:
    batches = _drain(_queue(keys, max_batch=max_batch))
    assert sorted(job for batch in batches for job in batch) == list(range(len(keys)))
    for kind in "abc":
        jobs = [job for batch in batches for job in batch if keys[job] == kind]
        assert jobs == sorted(jobs)
    # nobody overtakes the oldest: each batch starts with the oldest that was left
    assert [batch[0] for batch in batches] == sorted(batch[0] for batch in batches)


class _Gate:
    """A computation that ends when the test lets it; doubles its jobs and notes the batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)

    def __call__(self, jobs: Sequence[int]) -> list[int]:
        self.batches.append(list(jobs))
        self.begun.release()
        assert self.may_end.acquire(timeout=5)
        return [2 * job for job in jobs]

    async def wait_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=5)


@asynccontextmanager
async def _running(
    compute: Callable[[Sequence[int]], Sequence[int]], limit: int = 10
) -> AsyncIterator[MicroBatcher[int, int]]:
    batcher = MicroBatcher(compute, limit, max_batch=4)
    async with asyncio.TaskGroup() as tasks:
        run = tasks.create_task(batcher.run())
        yield batcher
        run.cancel()


async def test_it_starts_at_once_and_what_arrives_meanwhile_is_the_next_batch() -> None:
    gate = _Gate()
    async with _running(gate) as batcher, asyncio.TaskGroup() as tasks:
        first = tasks.create_task(batcher.submit(1, "a"))
        await gate.wait_begun()
        rest = [tasks.create_task(batcher.submit(job, "a")) for job in (2, 3)]
        await asyncio.sleep(0)
        gate.may_end.release(2)
    assert gate.batches == [[1], [2, 3]]
    assert [task.result().result for task in (first, *rest)] == [2, 4, 6]
    assert [task.result().batch_size for task in (first, *rest)] == [1, 2, 2]
    assert rest[0].result().queue_seconds > 0


async def test_a_cancelled_job_leaves_the_queue() -> None:
    gate = _Gate()
    async with _running(gate) as batcher, asyncio.TaskGroup() as tasks:
        tasks.create_task(batcher.submit(1, "a"))
        await gate.wait_begun()
        doomed, kept = (tasks.create_task(batcher.submit(job, "a")) for job in (2, 3))
        await asyncio.sleep(0)
        doomed.cancel()
        await asyncio.sleep(0)
        gate.may_end.release(2)
    assert gate.batches == [[1], [3]]
    assert kept.result().result == 6


async def test_a_job_cancelled_while_it_runs_does_not_disturb_the_others_of_its_batch() -> None:
    gate = _Gate()
    async with _running(gate) as batcher, asyncio.TaskGroup() as tasks:
        tasks.create_task(batcher.submit(1, "a"))
        await gate.wait_begun()
        doomed, kept = (tasks.create_task(batcher.submit(job, "a")) for job in (2, 3))
        await asyncio.sleep(0)
        gate.may_end.release()
        await gate.wait_begun()
        doomed.cancel()
        gate.may_end.release()
    assert kept.result().result == 6


async def test_one_too_many_is_refused_and_those_before_are_served() -> None:
    gate = _Gate()
    async with _running(gate, limit=1) as batcher, asyncio.TaskGroup() as tasks:
        tasks.create_task(batcher.submit(1, "a"))
        await gate.wait_begun()
        waiting = tasks.create_task(batcher.submit(2, "a"))
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await batcher.submit(3, "a")
        gate.may_end.release(2)
    assert waiting.result().result == 4


async def test_a_computation_that_fails_fails_its_batch_and_not_the_next() -> None:
    def compute(jobs: Sequence[int]) -> Sequence[int]:
        if 13 in jobs:
            raise ArithmeticError
        return jobs

    async with _running(compute) as batcher:
        with pytest.raises(ArithmeticError):
            await batcher.submit(13, "a")
        assert (await batcher.submit(1, "a")).result == 1
