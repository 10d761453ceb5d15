"""A model that fails again and again is left alone for a while, and then tried by one request."""

from server.llm.breaker import Breaker


def tripped(now: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(3):
        breaker.failed(now)
    return breaker


def test_it_opens_at_the_third_failure_in_a_row() -> None:
    breaker = Breaker()
    breaker.failed(0.0)
    breaker.failed(1.0)
    breaker.succeeded()
    breaker.failed(2.0)
    breaker.failed(3.0)
    assert breaker.state(3.0) == "closed"
    breaker.failed(4.0)
    assert breaker.state(4.0) == "open"


def test_it_lets_one_request_try_after_five_seconds() -> None:
    breaker = tripped()
    assert [breaker.state(now) for now in (4.9, 5.0, 9.0)] == ["open", "half_open", "half_open"]
    breaker.asked(9.0)
    assert breaker.state(9.0) == "open"


def test_a_trial_that_succeeds_closes_it() -> None:
    breaker = tripped()
    breaker.asked(5.0)
    breaker.succeeded()
    assert breaker.state(5.1) == "closed"
    breaker.failed(6.0)
    assert breaker.state(6.0) == "closed"


def test_a_trial_without_outcome_is_followed_by_another() -> None:
    breaker = tripped()
    breaker.asked(5.0)
    assert [breaker.state(now) for now in (9.9, 10.0)] == ["open", "half_open"]


def test_each_trial_that_fails_doubles_the_wait_up_to_a_minute() -> None:
    breaker, now, waits = tripped(), 0.0, []
    for _ in range(6):
        since = now
        while breaker.state(now) == "open":
            now += 0.5
        waits.append(now - since)
        breaker.asked(now)
        breaker.failed(now)
    assert waits == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]


def test_requests_that_go_out_while_it_is_open_are_no_trials() -> None:
    breaker = tripped()
    breaker.asked(4.0)
    assert breaker.state(5.0) == "half_open"


def test_requests_that_went_out_before_it_opened_are_no_trials_either() -> None:
    """Many calls that are throttled in one moment must not cost them their model for a minute."""
    breaker = tripped()
    for _ in range(20):
        breaker.failed(0.5)
    assert [breaker.state(now) for now in (5.4, 5.5)] == ["open", "half_open"]


def test_it_is_open_at_once_for_as_long_as_the_server_asks() -> None:
    breaker = Breaker()
    breaker.failed(0.0, retry_after=7.0)
    assert [breaker.state(now) for now in (6.9, 7.0)] == ["open", "closed"]


def test_answers_that_were_under_way_change_nothing_about_that() -> None:
    breaker = Breaker()
    breaker.failed(0.0, retry_after=7.0)
    breaker.succeeded()
    breaker.failed(1.0, retry_after=2.0)
    assert [breaker.state(now) for now in (6.9, 7.0)] == ["open", "closed"]


def test_a_server_that_asks_for_a_day_is_tried_after_a_minute() -> None:
    breaker = Breaker()
    breaker.failed(0.0, retry_after=86_400.0)
    assert [breaker.state(now) for now in (59.9, 60.0)] == ["open", "closed"]


def test_one_that_asks_for_a_moment_again_and_again_is_left_alone_for_longer() -> None:
    breaker = Breaker()
    for now in (0.0, 1.0, 2.0):
        breaker.failed(now, retry_after=1.0)
    assert [breaker.state(now) for now in (6.9, 7.0)] == ["open", "half_open"]
