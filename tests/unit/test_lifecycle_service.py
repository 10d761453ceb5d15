"""A node's life in its group while it serves: joining, protection, the watchdog."""

import itertools

import pytest

from server.fleet.group_requests import (
    LONGEST_PAUSE_SECONDS,
    NOT_YET_SECONDS,
    Answer,
    Heartbeat,
    Protect,
    ReportUnhealthy,
)
from server.fleet.lifecycle import (
    HEARTBEAT_SECONDS,
    LAUNCH_HOOK,
    LAUNCH_SECONDS,
    PROTECT_AGAIN_SECONDS,
    UNHEALTHY_AFTER_SECONDS,
    UNHEALTHY_AGAIN_SECONDS,
    Drain,
    State,
)
from tests.support.lifecycle import JOIN, TICK, Fleet, done, failed, not_outstanding

# --- joining


def test_the_launch_hook_is_completed_once_every_part_serves_and_a_first_synthesis_has_run() -> None:
    fleet = Fleet()
    fleet.missing = ["tts"]
    assert fleet.run(5) == []
    fleet.missing = []
    assert fleet.run(5) == []
    fleet.life.spoke()
    assert fleet.state() is State.STARTING
    assert fleet.run(5) == [JOIN, Protect(False)]
    assert fleet.state() is State.IN_SERVICE
    assert fleet.run(600) == []


def test_a_first_synthesis_that_ran_does_not_make_up_for_a_part_that_is_gone_again() -> None:
    fleet = Fleet().ready()
    fleet.missing = ["stt"]
    assert fleet.run(5) == []


def test_heartbeats_prolong_a_slow_start_but_not_for_ever() -> None:
    fleet = Fleet()
    start = fleet.now
    fleet.run(LAUNCH_SECONDS + 300)
    beats = fleet.times(Heartbeat(LAUNCH_HOOK))
    assert beats[0] == start + HEARTBEAT_SECONDS, "who dies at once, again and again, prolongs nothing"
    gaps = {later - earlier for earlier, later in itertools.pairwise(beats)}
    assert gaps <= {HEARTBEAT_SECONDS, HEARTBEAT_SECONDS + TICK}
    assert LAUNCH_SECONDS - HEARTBEAT_SECONDS - TICK * 15 <= beats[-1] - start <= LAUNCH_SECONDS


def test_what_has_joined_beats_no_more() -> None:
    fleet = Fleet().in_service()
    assert fleet.run(300) == []


def test_a_process_that_is_started_again_in_an_instance_in_service_goes_on() -> None:
    fleet = Fleet(not_outstanding).ready()
    assert fleet.run(2)[:2] == [JOIN, Protect(False)]
    assert fleet.state() is State.IN_SERVICE
    fleet.run(NOT_YET_SECONDS + LONGEST_PAUSE_SECONDS)
    fleet.commands.clear()
    assert fleet.run(600) == []


def test_a_hook_that_holds_the_instance_only_after_the_first_try_is_completed_then() -> None:
    fleet = Fleet(not_outstanding).ready()
    fleet.run(10)
    fleet.answer = done
    fleet.run(NOT_YET_SECONDS)
    fleet.answer = failed
    assert fleet.run(600) == []


def test_where_imds_names_no_target_the_hook_is_tried_all_the_same() -> None:
    fleet = Fleet(target="").ready()
    assert fleet.run(2) == [JOIN, Protect(False)]
    fleet.life.target_state("InService")  # the same transition, seen late
    fleet.life.target_state("")  # and out of sight again
    assert fleet.run(60) == []


def test_an_api_that_fails_is_asked_again_with_growing_pauses() -> None:
    fleet = Fleet(failed).ready()
    fleet.run(400)
    tries = fleet.times(JOIN)
    gaps = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert gaps[:4] == [TICK + pause for pause in (1, 2, 4, 8)]
    assert max(gaps) == LONGEST_PAUSE_SECONDS + TICK
    assert fleet.state() is State.STARTING
    fleet.answer = done
    fleet.run(LONGEST_PAUSE_SECONDS + 1)
    assert fleet.state() is State.IN_SERVICE


def test_no_request_is_sent_while_its_like_is_under_way() -> None:
    fleet = Fleet(answer=None)
    fleet.run(LAUNCH_SECONDS)
    assert fleet.unanswered == [Heartbeat(LAUNCH_HOOK)]
    fleet.ready().run(LAUNCH_SECONDS)
    assert fleet.unanswered == [Heartbeat(LAUNCH_HOOK), JOIN]


@pytest.mark.parametrize("pool", ["Warmed:Stopped", "Warmed:Running", "Warmed:Hibernated"])
def test_each_transition_of_a_warm_pool_is_completed_once(pool: str) -> None:
    fleet = Fleet(target=pool).ready()
    assert fleet.run(60) == [JOIN]
    assert fleet.state() is State.STARTING
    assert not fleet.life.takes_calls
    fleet.life.target_state("InService")
    assert fleet.run(60) == [JOIN, Protect(False)]
    assert fleet.life.takes_calls


def test_an_answer_for_the_transition_before_does_not_settle_the_next() -> None:
    fleet = Fleet(answer=None, target="Warmed:Running").ready()
    assert fleet.tick() == [JOIN]
    fleet.life.target_state("InService")
    fleet.life.answered(JOIN, Answer.DONE, fleet.now)
    assert fleet.state() is State.STARTING
    assert fleet.tick() == [JOIN]


def test_what_is_on_standby_takes_no_calls_and_drains_none() -> None:
    fleet = Fleet().in_service()
    fleet.life.target_state("Standby")
    assert fleet.run(60) == []
    assert not fleet.life.takes_calls
    fleet.life.target_state("InService")
    assert fleet.run(60) == [JOIN]
    assert fleet.life.takes_calls


# --- protection


def test_protection_is_set_on_the_first_call_and_cleared_on_the_last() -> None:
    fleet = Fleet().in_service()
    fleet.life.calls(1)
    assert fleet.run(5) == [Protect(True)]
    fleet.life.calls(7)
    assert fleet.run(5) == []
    fleet.life.calls(1)
    assert fleet.run(5) == []
    fleet.life.calls(0)
    assert fleet.run(5) == [Protect(False)]


def test_what_a_predecessor_left_is_cleared_where_there_are_no_calls() -> None:
    assert Fleet().ready().run(5) == [JOIN, Protect(False)]


def test_protection_is_asserted_again_while_calls_live_and_never_else() -> None:
    fleet = Fleet().in_service()
    fleet.life.calls(2)
    assert fleet.run(PROTECT_AGAIN_SECONDS * 3) == [Protect(True)] * 3
    fleet.life.calls(0)
    assert fleet.run(PROTECT_AGAIN_SECONDS * 3) == [Protect(False)]


def test_only_the_wished_state_counts_when_the_api_is_slow() -> None:
    fleet = Fleet(answer=None).in_service()
    fleet.life.calls(1)
    assert fleet.tick() == [Protect(True)]
    for active in (0, 1, 0, 1, 0):
        fleet.life.calls(active)
        assert fleet.tick() == []
    fleet.life.answered(Protect(True), Answer.DONE, fleet.now)
    assert fleet.tick() == [Protect(False)]


def test_a_new_wish_does_not_wait_for_the_failures_of_the_old() -> None:
    fleet = Fleet(failed).in_service()
    fleet.life.calls(1)
    fleet.run(120)
    fleet.life.calls(0)
    assert fleet.tick() == [Protect(False)]


def test_protection_that_could_not_be_set_is_tried_until_it_is() -> None:
    fleet = Fleet(failed).in_service()
    fleet.life.calls(1)
    assert len(fleet.run(20)) > 3
    fleet.answer = done
    fleet.run(LONGEST_PAUSE_SECONDS)
    fleet.commands.clear()
    assert fleet.run(60) == []


def test_a_node_that_drains_without_the_group_knowing_stays_protected() -> None:
    fleet = Fleet().in_service()
    fleet.life.calls(1)
    fleet.life.terminate(fleet.now)
    assert set(fleet.run(5)) == {Drain("sigterm"), Protect(True)}


# --- the watchdog


def test_a_part_that_is_gone_for_good_is_reported_every_minute() -> None:
    fleet = Fleet().in_service()
    fleet.missing = ["stt"]
    start = fleet.now
    fleet.run(UNHEALTHY_AFTER_SECONDS + 2.5 * UNHEALTHY_AGAIN_SECONDS)
    reports = fleet.times(ReportUnhealthy(("stt",)))
    assert reports[0] == start + UNHEALTHY_AFTER_SECONDS
    assert len(reports) == 3
    assert fleet.life.unhealthy(fleet.now)
    assert not fleet.life.takes_calls
    fleet.missing = []
    assert fleet.run(600) == []
    assert not fleet.life.unhealthy(fleet.now)


def test_a_part_that_comes_back_each_time_is_not_reported() -> None:
    fleet = Fleet().in_service()
    for missing in (["stt"], ["tts"], ["stt", "vad"], []) * 4:
        fleet.missing = missing
        assert fleet.run(UNHEALTHY_AFTER_SECONDS - TICK) == []


def test_what_never_served_is_left_to_the_launch_hook() -> None:
    fleet = Fleet()
    fleet.missing = ["tts"]
    assert set(fleet.run(LAUNCH_SECONDS * 2)) == {Heartbeat(LAUNCH_HOOK)}
    assert not fleet.life.unhealthy(fleet.now)


def test_a_draining_node_is_not_reported() -> None:
    fleet = Fleet().in_service()
    fleet.life.calls(1)
    fleet.life.target_state("Terminated")
    fleet.missing = ["stt"]
    assert not any(isinstance(command, ReportUnhealthy) for command in fleet.run(500))
