"""Whose job is next where many calls share one device: fair queueing by call, in units of what the device does.

Deficit round robin (Shreedhar and Varghese, 1995), with a call that had nothing waiting before those that had (as in
RFC 8290). So whoever speaks now and then waits for the batch that runs and for others of their like, whatever a greedy
call has queued. Pure; an operation takes a time of the order of the calls that wait.
"""

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

from server.errors import VoicefleetError

Job = TypeVar("Job")


class QueueFull(VoicefleetError):
    """So many jobs wait already that one more would only come too late."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the queue is full: {limit} are waiting already")


@dataclass(eq=False, slots=True)
class Entry(Generic[Job]):
    """A job of the call `flow`, which costs `cost`. Only jobs with equal keys may share a batch."""

    job: Job
    key: Hashable
    flow: Hashable
    cost: float


@dataclass(eq=False, slots=True)
class _Flow(Generic[Job]):
    """What waits of one call. It has its turn while `credit` is above 0; a job may take it below."""

    name: Hashable
    credit: float
    waiting: deque[Entry[Job]] = field(default_factory=deque)

    @property
    def cost(self) -> float:
        return sum(entry.cost for entry in self.waiting)


class FairQueue(Generic[Job]):
    """Decides which jobs run together: the one whose turn it is, and others of its kind, those of other calls first."""

    def __init__(self, limit: int, max_batch: int, quantum: float) -> None:
        """At most `limit` jobs wait, half of them of one call. Each round earns a call the cost `quantum`."""
        self._limit = limit
        self._max_batch = max_batch
        self._quantum = quantum
        self._flows: dict[Hashable, _Flow[Job]] = {}
        # Each flow is in one of them. One that is emptied stays for a round, so that it can't always come as a new one.
        self._new: deque[_Flow[Job]] = deque()
        self._old: deque[_Flow[Job]] = deque()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, entry: Entry[Job]) -> Entry[Job] | None:
        """Gives the entry that had to make room: the newest of the call that has most waiting.

        Raises `QueueFull` where it is this call that has.
        """
        flow = self._flows.get(entry.flow)
        if flow and len(flow.waiting) >= self._limit // 2:
            raise QueueFull(len(flow.waiting))
        evicted = self._evict_for(entry, flow) if self._count >= self._limit else None
        if flow is None:
            flow = self._flows[entry.flow] = _Flow(entry.flow, self._quantum)
            self._new.append(flow)
        flow.waiting.append(entry)
        self._count += 1
        return evicted

    def discard(self, entry: Entry[Job]) -> None:
        """Take `entry` out, if it still waits."""
        flow = self._flows.get(entry.flow)
        if flow and entry in flow.waiting:
            flow.waiting.remove(entry)
            self._count -= 1

    def next_batch(self) -> list[Entry[Job]]:
        """Take out what is to run now; empty when nothing waits."""
        first = self._next_flow()
        if first is None:
            return []
        batch = [self._take(first, first.waiting[0])]
        first.credit -= batch[0].cost
        flows = (*self._new, *self._old)
        for flow in flows:
            if flow is not first and flow.credit > 0:
                for entry in self._take_kind(flow, batch[0].key, min(1, self._max_batch - len(batch))):
                    flow.credit -= entry.cost
                    batch.append(entry)
        for flow in flows:  # room that no other call has a use for costs nothing
            batch += self._take_kind(flow, batch[0].key, self._max_batch - len(batch))
        return batch

    def _evict_for(self, entry: Entry[Job], flow: _Flow[Job] | None) -> Entry[Job]:
        greediest = max(self._flows.values(), key=lambda flow: flow.cost)
        if entry.cost + (flow.cost if flow else 0.0) >= greediest.cost:
            raise QueueFull(self._limit)
        self._count -= 1
        return greediest.waiting.pop()

    def _next_flow(self) -> _Flow[Job] | None:
        """The flow whose turn it is; those before it that have no credit or no job left are put behind, or out."""
        while flows := self._new or self._old:
            flow = flows[0]
            if flow.waiting and flow.credit > 0:
                return flow
            flows.popleft()
            if flow.waiting or flows is self._new:
                self._old.append(flow)
            else:
                del self._flows[flow.name]
            if flow.credit <= 0:
                flow.credit += self._quantum
        return None

    def _take_kind(self, flow: _Flow[Job], key: Hashable, most: int) -> list[Entry[Job]]:
        kind = (entry for entry in flow.waiting if entry.key == key)
        return [self._take(flow, entry) for entry in list(islice(kind, most))]

    def _take(self, flow: _Flow[Job], entry: Entry[Job]) -> Entry[Job]:
        flow.waiting.remove(entry)
        self._count -= 1
        return entry
