"""Which worker a clause is asked of, and what follows when it refuses, dies or hangs, in virtual time."""

from collections import Counter
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.workers.balancing import (
    BUSY_SECONDS,
    CHECKS_MISSED,
    FAILED_REST_SECONDS,
    REFUSED_REST_SECONDS,
    RESTART_SECONDS,
    Ask,
    Attempts,
    Balancer,
    GiveUp,
    Pause,
    WaitForWorker,
)


def balancer(*addresses: str, streams: int = 0) -> Balancer:
    """Workers that are all well at 0.0."""
    made = Balancer(addresses)
    for address in addresses:
        made.checked(address, 0.0, healthy=True, streams=streams)
    return made


def attempts(over: Balancer) -> Attempts:
    return Attempts(over, jitter=lambda: 0.5)


# --- the choice


def test_the_least_busy_is_asked() -> None:
    workers = balancer("a", "b", "c")
    with workers.asked("a"), workers.asked("b"), workers.asked("b"):
        assert workers.choose(0.0) == "c"
        with workers.asked("c"), workers.asked("c"):
            assert workers.choose(0.0) == "a"
    assert [workers.outstanding(address) for address in "abc"] == [0, 0, 0]


def test_equals_take_turns() -> None:
    workers = balancer("a", "b", "c")
    asked = []
    for _ in range(6):
        address = workers.choose(0.0)
        assert address
        with workers.asked(address):
            asked.append(address)
    assert asked == ["a", "b", "c", "a", "b", "c"]


@given(st.lists(st.integers(0, 9), max_size=60))
def test_no_worker_is_ever_two_streams_ahead_of_another_while_none_end(calls: list[int]) -> None:
    workers = balancer("a", "b", "c")
    with ExitStack() as stack:
        for _ in calls:
            address = workers.choose(0.0)
            assert address
            stack.enter_context(workers.asked(address))
        counts = [workers.outstanding(address) for address in "abc"]
        assert max(counts) - min(counts) <= 1
        assert sum(counts) == len(calls)


def test_nobody_is_asked_who_is_not_well() -> None:
    workers = Balancer(["a", "b"])
    assert workers.choose(0.0) is None
    workers.checked("b", 0.0, healthy=True)
    assert workers.choose(0.0) == "b"
    assert workers.choose(0.0, excluded={"b"}) is None
    workers.checked("b", 1.0, healthy=False)
    assert workers.choose(1.0) is None


def test_an_address_given_twice_is_one_worker() -> None:
    assert Balancer(["a", "b", "a"]).addresses == ["a", "b"]


# --- health


def test_a_worker_that_is_slow_to_answer_is_not_gone_at_once() -> None:
    workers = balancer("a")
    for missed in range(1, CHECKS_MISSED):
        workers.checked("a", float(missed), healthy=None)
        assert workers.healthy("a")
    workers.checked("a", 9.0, healthy=None)
    assert not workers.healthy("a")
    workers.checked("a", 10.0, healthy=True)
    workers.checked("a", 11.0, healthy=None)
    assert workers.healthy("a")


def test_a_worker_that_never_served_is_not_taken_for_slow() -> None:
    workers = Balancer(["a"])
    workers.checked("a", 0.0, healthy=None)
    assert not workers.healthy("a")


def test_a_worker_whose_stream_failed_is_asked_again_only_after_a_check_from_then_on() -> None:
    workers = balancer("a")
    workers.failed("a", 10.0)
    assert workers.healthy("a"), "one stream says nothing of the node's readiness"
    workers.checked("a", 9.9, healthy=True)  # asked before it failed
    assert workers.choose(10.1) is None
    workers.checked("a", 10.1, healthy=True)
    assert workers.choose(10.2) == "a"


def test_a_worker_that_hangs_and_answers_its_checks_does_not_draw_every_clause() -> None:
    workers = balancer("a", "b")
    workers.failed("a", 10.0)
    workers.checked("a", 10.1, healthy=True)
    with workers.asked("b"), workers.asked("b"):
        assert workers.choose(10.2) == "b"
        assert workers.choose(10.2, excluded={"b"}) == "a", "last, and yet there"
        assert workers.choose(10.0 + FAILED_REST_SECONDS) == "a"


def test_a_worker_that_refused_comes_last_for_a_moment() -> None:
    workers = balancer("a", "b")
    workers.refused("a", 1.0)
    with workers.asked("b"):
        assert workers.choose(1.0) == "b"
        assert workers.choose(1.0 + REFUSED_REST_SECONDS) == "a"


# --- capacity


def test_capacity_is_what_the_healthy_can_speak() -> None:
    workers = balancer("a", "b", streams=48)
    assert workers.capacity == 96
    workers.checked("b", 1.0, healthy=True, streams=20)
    assert workers.capacity == 68
    workers.checked("a", 1.0, healthy=False)
    assert workers.capacity == 20
    assert [workers.streams(address) for address in "ab"] == [0, 20]
    workers.checked("b", 2.0, healthy=False)
    assert workers.capacity == 0


def test_capacity_is_not_known_where_one_does_not_know_its_own() -> None:
    workers = balancer("a", "b", streams=48)
    workers.checked("b", 1.0, healthy=True, streams=0)
    assert workers.capacity is None
    workers.checked("b", 2.0, healthy=False)
    assert workers.capacity == 48


# --- a clause


def test_each_worker_may_fail_a_clause_once() -> None:
    workers = balancer("a", "b", "c")
    clause = attempts(workers)
    for now, address in enumerate("abc"):
        assert clause.next(float(now)) == Ask(address)
        clause.failed(address, float(now))
        workers.checked(address, now + 0.5, healthy=True)
    assert clause.next(3.0) == GiveUp()


def test_a_worker_that_is_alone_gets_one_restart() -> None:
    workers = balancer("a")
    clause = attempts(workers)
    assert clause.next(1.0) == Ask("a")
    clause.failed("a", 1.0)
    assert clause.next(1.0) == WaitForWorker(RESTART_SECONDS)
    workers.checked("a", 1.1, healthy=False)
    assert clause.next(3.0) == WaitForWorker(RESTART_SECONDS - 2.0)
    workers.checked("a", 3.0, healthy=True)
    assert clause.next(3.1) == Ask("a")
    clause.failed("a", 3.2)
    workers.checked("a", 3.3, healthy=True)
    assert clause.next(3.4) == GiveUp()


def test_a_worker_that_does_not_come_back_is_waited_for_no_longer() -> None:
    clause = attempts(Balancer(["a", "b"]))
    assert clause.next(0.0) == WaitForWorker(RESTART_SECONDS)
    assert clause.next(RESTART_SECONDS) == GiveUp()


def test_where_the_others_are_down_whoever_comes_first_goes_on() -> None:
    workers = balancer("a", "b")
    workers.checked("b", 1.0, healthy=False)
    clause = attempts(workers)
    assert clause.next(1.0) == Ask("a")
    clause.failed("a", 1.0)
    assert isinstance(clause.next(1.0), WaitForWorker)
    workers.checked("b", 2.0, healthy=True)
    assert clause.next(2.0) == Ask("b")


def test_a_busy_worker_sends_the_clause_to_the_next_at_once() -> None:
    clause = attempts(balancer("a", "b"))
    assert clause.next(0.0) == Ask("a")
    clause.refused("a", 0.0)
    assert clause.next(0.0) == Ask("b")


def test_while_all_are_busy_a_clause_tries_again_for_a_bounded_time() -> None:
    clause, now, asked = attempts(balancer("a", "b")), 10.0, Counter[str]()
    while not isinstance(step := clause.next(now), GiveUp):
        if isinstance(step, Ask):
            asked[step.address] += 1
            clause.refused(step.address, now)
        else:
            assert isinstance(step, Pause)
            assert step.seconds > 0
            now += step.seconds
    assert BUSY_SECONDS - 0.3 <= now - 10.0 <= BUSY_SECONDS
    assert asked["a"] == asked["b"] > 3


def test_a_clause_that_was_refused_is_taken_as_soon_as_there_is_room() -> None:
    clause = attempts(balancer("a"))
    clause.refused("a", 0.0)
    assert clause.next(0.0) == Pause(0.2)
    assert clause.next(0.2) == Ask("a")


def test_clauses_refused_together_come_back_apart() -> None:
    pauses = []
    for share in (0.0, 1.0):
        clause = Attempts(balancer("a"), jitter=lambda share=share: share)  # type: ignore[misc] # mypy can't infer a lambda's default
        clause.refused("a", 0.0)
        step = clause.next(0.0)
        assert isinstance(step, Pause)
        pauses.append(step.seconds)
    assert pauses == pytest.approx([0.1, 0.3])


def test_a_worker_that_failed_is_not_asked_again_because_another_is_busy() -> None:
    workers = balancer("a", "b")
    clause = attempts(workers)
    clause.failed("a", 0.0)
    workers.checked("a", 0.1, healthy=True)
    clause.refused("b", 0.1)
    assert isinstance(clause.next(0.1), Pause)
    assert clause.next(0.4) == Ask("b")


STEPS = st.lists(st.tuples(st.sampled_from(["fail", "refuse", "down", "up"]), st.sampled_from("abc")), max_size=40)


@given(STEPS)
def test_whatever_happens_a_clause_ends(happenings: list[tuple[str, str]]) -> None:
    """Its tries are bounded, and so is its time: two waits beside what the workers themselves take."""
    workers = balancer("a", "b", "c")
    clause, now, failures = attempts(workers), 0.0, 0
    happening = iter(happenings)
    for _ in range(200):
        what, whom = next(happening, ("fail", "a"))
        if what in ("down", "up"):
            workers.checked(whom, now, healthy=what == "up")
        match clause.next(now):
            case Ask(address):
                if what == "refuse":
                    clause.refused(address, now)
                else:
                    failures += 1
                    clause.failed(address, now)
            case Pause(seconds) | WaitForWorker(seconds):
                now += min(seconds, 1.0)
            case GiveUp():
                break
    else:
        pytest.fail("it never ended")
    assert failures <= 4
    assert now <= BUSY_SECONDS + RESTART_SECONDS + 1.0
