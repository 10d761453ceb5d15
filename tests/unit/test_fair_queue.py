"""Fair shares between calls: the queue's decisions, whatever is queued."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.workers.fair_queue import Entry, FairQueue, QueueFull

_LIMIT = 100
_QUANTUM = 15.0
_DEAREST = 64.0


def _queue(limit: int = _LIMIT, max_batch: int = 1) -> FairQueue[int]:
    return FairQueue(limit, max_batch, _QUANTUM)


def _filled(entries: str, max_batch: int = 3) -> FairQueue[int]:
    """An entry for each word of `entries`, which is a call's letter and its kind's: `Aa Ab Ba`."""
    queue = _queue(max_batch=max_batch)
    for number, entry in enumerate(entries.split()):
        queue.add(Entry(number, key=entry[1], flow=entry[0], cost=_QUANTUM))
    return queue


def _drain(queue: FairQueue[int]) -> list[list[int]]:
    batches = []
    while batch := queue.next_batch():
        batches.append([entry.job for entry in batch])
    return batches


def test_an_empty_queue_gives_no_batch() -> None:
    assert _queue().next_batch() == []


def test_a_batch_is_of_one_kind_and_no_larger_than_allowed() -> None:
    assert _drain(_filled("Aa Ba Cb Da Ea Fb")) == [[0, 1, 3], [2, 5], [4]]


def test_a_batch_holds_one_job_of_each_call_and_more_where_there_is_room() -> None:
    assert _drain(_filled("Aa Aa Aa Ba Ca")) == [[0, 3, 4], [1, 2]]


def test_a_call_that_had_nothing_waiting_comes_before_one_that_had() -> None:
    queue = _filled("Aa Aa Aa Aa", max_batch=1)
    first = queue.next_batch()
    queue.add(Entry(9, "a", "B", _QUANTUM))
    assert [first[0].job, *(batch[0] for batch in _drain(queue))] == [0, 9, 1, 2, 3]


def test_what_is_dear_has_its_turn_less_often() -> None:
    queue = _queue()
    for number in range(20):
        queue.add(Entry(number, "a", "dear", 60.0))
        queue.add(Entry(100 + number, "a", "cheap", 15.0))
    order = ["dear" if batch[0] < 100 else "cheap" for batch in _drain(queue)]
    assert 3 <= order[:20].count("dear") <= 5


def test_a_call_that_waits_for_each_answer_does_not_always_come_first() -> None:
    queue = _filled("Aa Aa Aa Aa", max_batch=1)
    queue.add(Entry(100, "a", "B", _QUANTUM))
    order = ""
    while len(order) < 6 and (batch := queue.next_batch()):
        order += str(batch[0].flow)
        if batch[0].flow == "B":
            queue.add(Entry(100, "a", "B", _QUANTUM))
    assert order == "ABABAB"


def test_a_call_may_have_half_of_the_queue_waiting() -> None:
    queue = _queue(limit=4)
    queue.add(Entry(0, "a", "A", 1.0))
    queue.add(Entry(1, "a", "A", 1.0))
    with pytest.raises(QueueFull, match="2 are waiting"):
        queue.add(Entry(2, "a", "A", 1.0))
    assert queue.add(Entry(3, "a", "B", 1.0)) is None


def test_in_a_full_queue_the_newest_of_the_greediest_makes_room() -> None:
    queue = _queue(limit=4)
    for number, flow in enumerate("AABC"):
        queue.add(Entry(number, "a", flow, 1.0))
    evicted = queue.add(Entry(4, "a", "D", 1.0))
    assert evicted is not None
    assert evicted.job == 1
    assert len(queue) == 4
    with pytest.raises(QueueFull, match="4 are waiting"):
        queue.add(Entry(5, "a", "A", 1.0))
    with pytest.raises(QueueFull):
        queue.add(Entry(6, "a", "E", 1.0))


def test_a_discarded_entry_never_runs_and_one_that_runs_may_be_discarded() -> None:
    queue = _queue(limit=4)
    entries = [Entry(0, "a", "A", 1.0), Entry(1, "a", "A", 1.0)]
    for entry in entries:
        queue.add(entry)
    queue.discard(entries[1])
    assert _drain(queue) == [[0]]
    queue.discard(entries[0])
    assert len(queue) == 0


_COSTS = st.floats(1.0, _DEAREST)
_ENTRIES = st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from("xy"), _COSTS), max_size=50)


@given(_ENTRIES, st.integers(1, 5))
def test_all_run_once_and_a_call_s_own_in_order_among_their_kind(
    entries: Sequence[tuple[str, str, float]], max_batch: int
) -> None:
    queue = _queue(max_batch=max_batch)
    for number, (flow, key, cost) in enumerate(entries):
        queue.add(Entry(number, key, flow, cost))
    batches = _drain(queue)
    assert sorted(job for batch in batches for job in batch) == list(range(len(entries)))
    assert all(len({entries[job][1] for job in batch}) == 1 for batch in batches)
    assert all(len(batch) <= max_batch for batch in batches)
    for kind in {entry[:2] for entry in entries}:
        jobs = [job for batch in batches for job in batch if entries[job][:2] == kind]
        assert jobs == sorted(jobs)


@given(
    st.lists(st.lists(_COSTS, min_size=1, max_size=4), min_size=1, max_size=60), st.integers(0, 59), st.integers(1, 4)
)
def test_beside_two_calls_that_send_without_end_a_third_waits_for_a_turn_of_each_at_most(
    sent: Sequence[Sequence[float]], comes_at: int, max_batch: int
) -> None:
    queue = _queue(limit=1000, max_batch=max_batch)
    waited = 0.0
    for step, costs in enumerate(sent):
        for index, cost in enumerate(costs):
            queue.add(Entry(index, "x", "AB"[index % 2], cost))
        if step == comes_at:
            queue.add(Entry(step, "x", "third", _QUANTUM))
        batch = queue.next_batch()
        if step >= comes_at:
            if any(entry.flow == "third" for entry in batch):
                return
            waited += sum(entry.cost for entry in batch)
            assert waited <= 2 * (_QUANTUM + _DEAREST)


@given(st.lists(st.tuples(st.sampled_from("AB"), _COSTS), min_size=1, max_size=60))
def test_while_two_calls_wait_neither_gets_ahead_of_the_other_by_more_than_a_turn(
    jobs: Sequence[tuple[str, float]],
) -> None:
    queue = _queue(limit=1000)
    left = {"A": 0, "B": 0}
    for number, (flow, cost) in enumerate(jobs):
        queue.add(Entry(number, "x", flow, cost))
        left[flow] += 1
    served = {"A": 0.0, "B": 0.0}
    while all(left.values()) and (batch := queue.next_batch()):
        flow, cost = jobs[batch[0].job]
        served[flow] += cost
        left[flow] -= 1
        assert abs(served["A"] - served["B"]) <= 2 * _QUANTUM + 2 * _DEAREST
