"""How a node leaves its group: drained for whatever reason, no call cut before the limit."""

from itertools import pairwise

import pytest

from server.fleet.group_requests import (
    LONGEST_PAUSE_SECONDS,
    Answer,
    Heartbeat,
    Protect,
    PublishCutCalls,
    Request,
)
from server.fleet.lifecycle import (
    LAST_WORD_SECONDS,
    SETTLE_SECONDS,
    TERMINATE_HOOK,
    CutCalls,
    Drain,
    Exit,
    State,
)
from tests.support.lifecycle import DRAIN_SECONDS, LEAVE, Fleet, done, failed, not_outstanding


@pytest.mark.parametrize("target", ["Terminated", "Warmed:Terminated"])
def test_a_terminating_instance_drains_beats_and_lets_go_when_its_last_call_ends(target: str) -> None:
    fleet = Fleet().in_service()
    fleet.life.calls(3)
    fleet.run(5)
    fleet.life.target_state(target)
    assert fleet.tick() == [Drain("terminating"), Heartbeat(TERMINATE_HOOK)]
    assert fleet.state() is State.DRAINING
    fleet.run(300)
    assert len(fleet.times(Heartbeat(TERMINATE_HOOK))) == 5
    assert fleet.times(LEAVE) == []
    fleet.life.calls(0)
    assert fleet.run(60) == [LEAVE]
    assert fleet.state() is State.DRAINED
    assert fleet.run(600) == [], "the process stays, and nothing is asked of the group any more"


def test_calls_that_outlast_the_limit_are_cut_and_the_instance_goes() -> None:
    fleet = Fleet().in_service()
    fleet.life.calls(2)
    fleet.life.target_state("Terminated")
    fleet.run(DRAIN_SECONDS - 10)
    assert fleet.times(CutCalls()) == []
    fleet.run(20)
    assert len(fleet.times(CutCalls())) == len(fleet.times(LEAVE)) == 1


def test_the_limit_counts_from_the_first_reason() -> None:
    fleet = Fleet().in_service()
    fleet.life.calls(1)
    fleet.life.spot_notice()
    start = fleet.now
    fleet.run(DRAIN_SECONDS / 2)
    fleet.life.target_state("Terminated")
    fleet.run(DRAIN_SECONDS / 4)
    fleet.life.terminate(fleet.now)
    fleet.run(DRAIN_SECONDS / 2)
    assert fleet.times(CutCalls()) == [start + DRAIN_SECONDS]
    assert [command for _, command in fleet.commands if isinstance(command, Drain)] == [Drain("spot_interruption")]


def test_sigterm_shortens_no_drain_and_lets_the_hook_go_before_the_end() -> None:
    fleet = Fleet().in_service()
    fleet.life.calls(1)
    fleet.life.target_state("Terminated")
    fleet.run(30)
    fleet.life.terminate(fleet.now)
    assert set(fleet.run(120)) == {Heartbeat(TERMINATE_HOOK)}
    fleet.life.calls(0)
    assert fleet.run(5) == [LEAVE, Exit()]


def test_after_sigterm_alone_the_process_ends_with_its_last_call_and_unprotected() -> None:
    fleet = Fleet().in_service()
    fleet.life.calls(1)
    fleet.life.terminate(fleet.now)
    fleet.run(60)
    fleet.life.calls(0)
    assert fleet.run(5) == [Protect(False), Exit()]


def test_a_spot_notice_drains_and_lets_the_hook_go_once_there_is_one() -> None:
    fleet = Fleet().in_service()
    fleet.life.spot_notice()
    assert fleet.run(10) == [Drain("spot_interruption")]
    fleet.life.target_state("Terminated")
    assert fleet.run(10) == [LEAVE]


def test_a_process_that_never_joined_ends_at_once() -> None:
    fleet = Fleet()
    fleet.life.terminate(fleet.now)
    assert fleet.run(60) == [Drain("sigterm"), Exit()]


def test_an_instance_that_is_given_up_before_it_was_ready_is_let_go() -> None:
    fleet = Fleet()
    fleet.life.target_state("Terminated")
    assert fleet.run(120) == [Drain("terminating"), LEAVE]
    fleet.ready()
    assert fleet.run(120) == [], "it joins no more"


@pytest.mark.parametrize("target", ["InService", "Terminated"])
def test_an_api_that_fails_holds_up_no_exit_for_long(target: str) -> None:
    fleet = Fleet().in_service()
    fleet.life.calls(1)
    fleet.run(5)
    fleet.answer = failed
    fleet.life.target_state(target)
    fleet.life.calls(0)
    fleet.run(60)
    fleet.life.terminate(fleet.now)
    told = fleet.now
    fleet.run(60)
    (at,) = fleet.times(Exit())
    assert at == told + SETTLE_SECONDS


def test_a_hook_that_holds_the_instance_only_when_the_load_balancer_has_let_go_of_it_is_let_go_then() -> None:
    fleet = Fleet(not_outstanding).in_service()
    fleet.answer = not_outstanding
    fleet.life.target_state("Terminated")
    fleet.run(3600)
    fleet.answer = done
    assert fleet.run(LONGEST_PAUSE_SECONDS) == [LEAVE]


def outlasted(calls: int = 2) -> Fleet:
    """A fleet whose calls have just been cut, as they outlasted the drain."""
    fleet = Fleet().in_service()
    fleet.life.calls(calls)
    fleet.life.target_state("Terminated")
    fleet.run(DRAIN_SECONDS)
    return fleet


def test_what_a_drain_has_cut_is_published_before_the_instance_is_let_go() -> None:
    fleet = outlasted(calls=2)
    fleet.answer = None
    assert fleet.tick() == [CutCalls(), PublishCutCalls(2)]
    fleet.life.calls(0)
    assert fleet.run(5) == []
    fleet.answer = done
    assert fleet.run(60) == [LEAVE]


def test_a_drain_that_cuts_nothing_has_nothing_to_publish() -> None:
    fleet = Fleet().in_service()
    fleet.life.target_state("Terminated")
    assert PublishCutCalls(0) not in fleet.run(60)


def test_the_instance_is_let_go_where_nothing_can_be_published() -> None:
    def no_cloudwatch(request: Request) -> Answer:
        return Answer.FAILED if isinstance(request, PublishCutCalls) else Answer.DONE

    fleet = outlasted(calls=1)
    fleet.answer = no_cloudwatch
    fleet.run(60)
    tried = fleet.times(PublishCutCalls(1))
    (let_go,) = fleet.times(LEAVE)
    assert len(tried) > 1
    assert let_go == tried[0] + LAST_WORD_SECONDS


def test_a_cloudwatch_that_does_not_answer_holds_the_instance_for_seconds() -> None:
    fleet = outlasted()
    fleet.answer = None
    fleet.run(LAST_WORD_SECONDS)
    assert fleet.tick() == [LEAVE]


def test_a_process_that_is_told_to_end_publishes_what_it_has_cut() -> None:
    fleet = Fleet().in_service()
    fleet.life.calls(3)
    fleet.life.terminate(fleet.now)
    fleet.run(DRAIN_SECONDS)
    assert fleet.tick() == [CutCalls(), PublishCutCalls(3)]
    fleet.life.calls(0)
    assert fleet.run(60)[-1] == Exit()


def test_no_exit_waits_for_cloudwatch_for_long() -> None:
    fleet = outlasted()
    fleet.life.terminate(fleet.now)
    fleet.answer = failed
    fleet.run(60)
    (cut,) = fleet.times(CutCalls())
    (ended,) = fleet.times(Exit())
    assert fleet.times(LEAVE)[0] < ended <= cut + SETTLE_SECONDS + LAST_WORD_SECONDS


HOOK_SECONDS = 1800.0
"""How long the group waits for a heartbeat (infra/config.py)."""


@pytest.mark.parametrize("begins", [0.0, 30.0, 59.0, 300.0])
def test_calls_outlive_an_outage_of_auto_scaling_of_nearly_half_an_hour(begins: float) -> None:
    """Nothing but heartbeats keeps a draining instance; the hook's time counts from the last that arrived."""
    fleet = Fleet(drain_seconds=8 * HOOK_SECONDS).in_service()
    began, ended = fleet.now + begins, fleet.now + begins + HOOK_SECONDS - 2 * LONGEST_PAUSE_SECONDS
    arrived = [fleet.now]

    def answer(request: Request) -> Answer:
        if began <= fleet.now < ended:
            return Answer.FAILED
        if request == Heartbeat(TERMINATE_HOOK):
            arrived.append(fleet.now)
        return Answer.DONE

    fleet.answer = answer
    fleet.life.calls(1)
    fleet.life.target_state("Terminated")
    fleet.run(3 * HOOK_SECONDS)
    assert arrived[-1] > ended
    assert max(later - earlier for earlier, later in pairwise(arrived)) < HOOK_SECONDS
    assert not fleet.times(LEAVE)
    assert not fleet.times(CutCalls())
    fleet.life.calls(0)
    assert fleet.run(LONGEST_PAUSE_SECONDS) == [LEAVE]
