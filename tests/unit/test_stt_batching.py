"""The micro-batcher: the shell that carries out what the fair queue decides."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from server.workers.batching import Batched, MicroBatcher
from server.workers.fair_queue import QueueFull


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
    compute: Callable[[Sequence[int]], Sequence[int]], limit: int = 10, parallel: int = 1
) -> AsyncIterator[MicroBatcher[int, int]]:
    batcher = MicroBatcher(compute, limit, max_batch=4, quantum=1.0, parallel=parallel)
    async with asyncio.TaskGroup() as tasks:
        run = tasks.create_task(batcher.run())
        yield batcher
        run.cancel()


async def _submit(batcher: MicroBatcher[int, int], job: int, flow: int | None = None) -> Batched[int]:
    """Each job is another call's, unless `flow` says whose."""
    return await batcher.submit(job, "a", job if flow is None else flow, cost=1.0)


async def test_it_starts_at_once_and_what_arrives_meanwhile_is_the_next_batch() -> None:
    gate = _Gate()
    async with _running(gate) as batcher, asyncio.TaskGroup() as tasks:
        first = tasks.create_task(_submit(batcher, 1))
        await gate.wait_begun()
        rest = [tasks.create_task(_submit(batcher, job)) for job in (2, 3)]
        await asyncio.sleep(0)
        gate.may_end.release(2)
    assert gate.batches == [[1], [2, 3]]
    assert [task.result().result for task in (first, *rest)] == [2, 4, 6]
    assert [task.result().batch_size for task in (first, *rest)] == [1, 2, 2]
    assert rest[0].result().queue_seconds > 0


async def test_two_batches_run_at_once_where_the_engine_can_and_what_comes_then_waits() -> None:
    gate = _Gate()
    async with _running(gate, parallel=2) as batcher, asyncio.TaskGroup() as tasks:
        for job in (1, 2):
            tasks.create_task(_submit(batcher, job))
            await gate.wait_begun()
        rest = [tasks.create_task(_submit(batcher, job)) for job in (3, 4)]
        await asyncio.sleep(0)
        assert batcher.waiting == 2
        gate.may_end.release(3)
    assert gate.batches == [[1], [2], [3, 4]]
    assert [task.result().result for task in rest] == [6, 8]


async def test_a_cancelled_job_leaves_the_queue() -> None:
    gate = _Gate()
    async with _running(gate) as batcher, asyncio.TaskGroup() as tasks:
        tasks.create_task(_submit(batcher, 1))
        await gate.wait_begun()
        doomed, kept = (tasks.create_task(_submit(batcher, job)) for job in (2, 3))
        await asyncio.sleep(0)
        doomed.cancel()
        await asyncio.sleep(0)
        gate.may_end.release(2)
    assert gate.batches == [[1], [3]]
    assert kept.result().result == 6


async def test_a_job_cancelled_while_it_runs_does_not_disturb_the_others_of_its_batch() -> None:
    gate = _Gate()
    async with _running(gate) as batcher, asyncio.TaskGroup() as tasks:
        tasks.create_task(_submit(batcher, 1))
        await gate.wait_begun()
        doomed, kept = (tasks.create_task(_submit(batcher, job)) for job in (2, 3))
        await asyncio.sleep(0)
        gate.may_end.release()
        await gate.wait_begun()
        doomed.cancel()
        gate.may_end.release()
    assert kept.result().result == 6


async def test_a_call_that_fills_the_queue_is_refused_and_makes_room_for_others() -> None:
    gate = _Gate()
    async with _running(gate, limit=2) as batcher, asyncio.TaskGroup() as tasks:
        tasks.create_task(_submit(batcher, 1))
        await gate.wait_begun()
        waiting = [tasks.create_task(_submit(batcher, job)) for job in (2, 3)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await _submit(batcher, 4, flow=2)
        gate.may_end.release(2)
    assert [task.result().result for task in waiting] == [4, 6]


async def test_the_newest_of_the_greediest_is_told_that_it_had_to_make_room() -> None:
    gate = _Gate()
    async with _running(gate, limit=4) as batcher, asyncio.TaskGroup() as tasks:
        tasks.create_task(_submit(batcher, 1))
        await gate.wait_begun()
        greedy = [asyncio.create_task(_submit(batcher, job, flow=2)) for job in (2, 3)]
        others = [tasks.create_task(_submit(batcher, job)) for job in (4, 5, 6)]
        with pytest.raises(QueueFull):
            await greedy[1]
        gate.may_end.release(3)
    assert (await greedy[0]).result == 4
    assert [task.result().result for task in others] == [8, 10, 12]


async def test_a_job_that_can_not_be_computed_fails_alone() -> None:
    def compute(jobs: Sequence[int]) -> Sequence[int]:
        if 13 in jobs:
            raise ArithmeticError
        return jobs

    async with _running(compute) as batcher:
        answers = await asyncio.gather(*(_submit(batcher, job) for job in (12, 13, 14)), return_exceptions=True)
    twelve, thirteen, fourteen = answers
    assert isinstance(thirteen, ArithmeticError)
    assert isinstance(twelve, Batched)
    assert isinstance(fourteen, Batched)
    assert (twelve.result, fourteen.result) == (12, 14)
