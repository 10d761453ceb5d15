"""Admission: a full node refuses, a draining one too, and every call gives its place back exactly once."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.access.admission import Admission, AtCapacity, CallerAtCapacity, Draining
from server.access.auth import Principal
from server.observability.metrics import REGISTRY


def test_takes_calls_up_to_the_limit_and_tells_the_next_one_to_come_back() -> None:
    admission = Admission(limit=2, retry_after=3)
    first, _ = admission.admit(), admission.admit()
    assert admission.utilization == 1.0
    with pytest.raises(AtCapacity, match=r"all 2 sessions of this node are taken; try again in 3 s") as refused:
        admission.admit()
    assert (refused.value.reason, refused.value.limit, refused.value.retry_after) == ("full", 2, 3)
    first.release()
    assert admission.refusal is None
    admission.admit()
    assert admission.active == 2


def test_a_lease_gives_its_place_back_once_however_it_ends() -> None:
    admission = Admission(limit=2, retry_after=1)
    admission.admit()
    with pytest.raises(ConnectionError), admission.admit() as lease:
        raise ConnectionError
    lease.release()
    assert admission.active == 1


def test_a_draining_node_refuses_even_with_room_and_keeps_its_calls() -> None:
    admission = Admission(limit=5, retry_after=2)
    lease = admission.admit()
    admission.start_draining()
    assert admission.active == 1
    with pytest.raises(Draining, match="out of service") as refused:
        admission.admit()
    assert (refused.value.reason, refused.value.retry_after) == ("draining", 2)
    lease.release()
    assert admission.active == 0
    assert isinstance(admission.refusal, Draining)


async def test_the_end_of_the_last_call_is_told_to_whoever_waits() -> None:
    admission = Admission(limit=2, retry_after=1)
    await admission.all_ended()  # there are none
    first, second = admission.admit(), admission.admit()
    waiting = asyncio.create_task(admission.all_ended())
    first.release()
    await asyncio.sleep(0)
    assert not waiting.done()
    second.release()
    await asyncio.wait_for(waiting, 1)


def test_a_smaller_limit_ends_no_call_and_takes_no_new_one_until_there_is_room() -> None:
    admission = Admission(limit=4, retry_after=1)
    leases = [admission.admit() for _ in range(3)]
    admission.resize(2)
    assert (admission.active, admission.utilization) == (3, 1.0)
    assert REGISTRY.get_sample_value("voice_sessions_capacity") == 2
    with pytest.raises(AtCapacity, match="all 2 sessions"):
        admission.admit()
    leases.pop().release()
    assert isinstance(admission.refusal, AtCapacity)
    leases.pop().release()
    assert admission.refusal is None
    admission.resize(8)
    assert admission.utilization == 1 / 8


def test_a_limit_of_none_refuses_every_call() -> None:
    admission = Admission(limit=1, retry_after=5)
    admission.resize(0)
    with pytest.raises(AtCapacity, match="this node can serve no call now; try again in 5 s") as refused:
        admission.admit()
    assert (refused.value.reason, refused.value.limit) == ("full", 0)
    assert REGISTRY.get_sample_value("voice_sessions_utilization_ratio") == 1.0
    admission.resize(1)
    assert admission.refusal is None


def test_the_metrics_say_what_it_says() -> None:
    before = REGISTRY.get_sample_value("voice_sessions_total") or 0.0
    admission = Admission(limit=4, retry_after=1)
    admission.admit()
    names = ("active", "capacity", "utilization_ratio")
    assert [REGISTRY.get_sample_value(f"voice_sessions_{name}") for name in names] == [1, 4, 0.25]
    assert REGISTRY.get_sample_value("voice_sessions_total") == before + 1
    assert REGISTRY.get_sample_value("voice_draining") == 0
    admission.start_draining()
    assert REGISTRY.get_sample_value("voice_draining") == 1


@given(st.integers(1, 5), st.lists(st.booleans(), max_size=60))
def test_never_more_than_the_limit_never_less_than_none(limit: int, comings: list[bool]) -> None:
    admission = Admission(limit, retry_after=1)
    leases = []
    for comes in comings:
        if comes and admission.refusal is None:
            leases.append(admission.admit())
        elif leases and not comes:
            leases.pop().release()
        assert admission.active == len(leases) <= limit
        assert (admission.refusal is None) == (len(leases) < limit)


def test_one_caller_holds_its_share_and_leaves_the_rest_to_others() -> None:
    admission = Admission(limit=5, retry_after=3, per_key=3, per_token=2)
    app, user, modest = Principal("app", "key"), Principal("user", "token"), Principal("user", "token", sessions=1)
    first = admission.admit(user)
    with pytest.raises(CallerAtCapacity, match=r"may hold 1 calls at once and does; try again in 3 s") as refused:
        admission.admit(modest)
    assert (refused.value.reason, refused.value.limit) == ("caller_full", 1)
    assert admission.refusal is None  # which is the node's own
    first.release()
    admission.admit(modest)
    admission.admit(user)
    with pytest.raises(CallerAtCapacity):
        admission.admit(user)
    for _ in range(3):
        admission.admit(app)
    with pytest.raises(AtCapacity):
        admission.admit(app)


@pytest.mark.parametrize("caller", [None, Principal("local", "local"), Principal("app", "key")])
def test_without_a_share_a_caller_may_hold_every_call(caller: Principal | None) -> None:
    admission = Admission(limit=2, retry_after=3)
    admission.admit(caller), admission.admit(caller)
    with pytest.raises(AtCapacity):
        admission.admit(caller)


def test_a_place_that_is_handed_over_is_given_back_once_by_its_new_holder() -> None:
    admission = Admission(limit=1, retry_after=1)
    older = admission.admit()
    newer = older.hand_over()
    assert newer
    assert older.hand_over() is None
    older.release()
    assert admission.active == 1
    newer.release()
    assert admission.active == 0


def test_a_request_counts_as_what_it_takes_of_a_call() -> None:
    before = REGISTRY.get_sample_value("voice_sessions_total") or 0.0
    admission = Admission(limit=2, retry_after=3)
    first, second = admission.admit(use="transcription"), admission.admit(use="speech")
    assert (admission.active, admission.utilization) == (1.5, 0.75)
    assert REGISTRY.get_sample_value("voice_sessions_total") == before  # which counts calls
    assert isinstance(admission.refusal, AtCapacity)  # of a call, for which there is not enough
    with pytest.raises(AtCapacity):
        admission.admit(use="speech")
    admission.admit(use="transcription").release()
    first.release()
    assert admission.refusal is None
    second.release()
    assert admission.active == 0


def test_a_callers_requests_count_with_its_calls() -> None:
    admission = Admission(limit=8, retry_after=3, per_token=2)
    user = Principal("user", "token")
    admission.admit(user), admission.admit(user, "transcription")
    with pytest.raises(CallerAtCapacity):
        admission.admit(user)
    last = admission.admit(user, "transcription")
    with pytest.raises(CallerAtCapacity):
        admission.admit(user, "transcription")
    last.release()
    admission.admit(user, "transcription")


def test_a_draining_node_takes_no_request_and_waits_for_those_there_are() -> None:
    admission = Admission(limit=5, retry_after=2)
    lease = admission.admit(use="speech")
    admission.start_draining()
    with pytest.raises(Draining):
        admission.admit(use="transcription")
    assert admission.active == 1
    lease.release()
    assert admission.active == 0
