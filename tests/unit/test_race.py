"""Which model is asked for an answer, and when: in virtual time, no model is there."""

import pytest

from server.llm.interface import LlmError, LlmFailure
from server.llm.race import Ask, Failover, GiveUp, ModelHealth, Race, Step, Wait

PATIENCE = 10.0


class Racing:
    """A race whose steps are done as they come. `now` is set by the test."""

    def __init__(self, *models: ModelHealth, now: float = 0.0) -> None:
        self.now = now
        self.race = Race(models, PATIENCE, now, lambda: 0.5)

    def step(self) -> Step:
        step = self.race.next(self.now)
        if isinstance(step, Ask):
            self.race.asked(step, self.now)
        return step

    def asks(self) -> int | None:
        """The index of who is asked now."""
        step = self.step()
        return step.index if isinstance(step, Ask) else None

    def fail(self, index: int, failure: LlmFailure = "unavailable", retry_after: float = 0.0) -> None:
        self.race.failed(index, LlmError(failure, "no", retry_after), self.now)


def models(count: int) -> list[ModelHealth]:
    return [ModelHealth("abc"[index]) for index in range(count)]


def quick(name: str, seconds: float = 0.4) -> ModelHealth:
    """One of which enough is known."""
    health = ModelHealth(name)
    for _ in range(20):
        health.began(seconds)
    return health


def opened(name: str, now: float = 0.0) -> ModelHealth:
    health = ModelHealth(name)
    for _ in range(3):
        health.failed(LlmError("unavailable", "no"), now)
    return health


@pytest.mark.parametrize("failure", ["throttled", "unavailable", "timeout", "invalid_request", "interrupted"])
def test_the_next_is_asked_as_soon_as_one_fails(failure: LlmFailure) -> None:
    racing = Racing(*models(2))
    assert racing.asks() == 0
    racing.fail(0, failure)
    assert racing.step() == Ask(1, PATIENCE)
    racing.race.began(1, 0.1)
    assert racing.race.failover(1) == Failover("a", "b", failure)


def test_the_next_is_asked_beside_one_that_is_slower_than_it_usually_is() -> None:
    slow = ModelHealth("a")
    for number in range(1, 101):
        slow.began(number / 100)
    racing = Racing(slow, ModelHealth("b"))
    racing.step()
    assert racing.step() == Wait(0.95)
    racing.now = 0.95
    assert racing.step() == Ask(1, PATIENCE - 0.95, hedge=True)
    assert racing.step() == Wait(None)


@pytest.mark.parametrize(("usual", "waits"), [(0.01, 0.3), (0.5, 0.5), (8.0, 2.0)])
def test_the_wait_is_bounded(usual: float, waits: float) -> None:
    assert quick("a", usual).hedge_seconds == waits


def test_of_a_model_of_which_little_is_known_a_second_is_waited_for() -> None:
    health = ModelHealth("a")
    for _ in range(9):
        health.began(0.1)
    assert health.hedge_seconds == 1.0
    health.began(0.1)
    assert health.hedge_seconds == 0.3


def test_the_first_to_write_wins_and_the_other_is_not_wanted() -> None:
    for winner, loser in ((0, 1), (1, 0)):
        racing = Racing(*models(2))
        racing.step()
        racing.now = 1.0
        racing.step()
        assert racing.race.began(winner, 1.2) == [loser]
        assert [racing.race.is_hedge(index) for index in (0, 1)] == [False, True]
    assert racing.race.failover(1) == Failover("a", "b", "slow")


def test_a_model_that_lost_is_known_to_take_at_least_as_long() -> None:
    """Or its percentile would sink with each race that it loses, and more would be asked of the others."""
    slow = quick("a", 0.5)
    for start in range(10):
        racing = Racing(slow, ModelHealth("b"), now=10.0 * start)
        racing.step()
        racing.now += slow.hedge_seconds
        racing.step()
        racing.race.began(1, racing.now + 0.7)
    assert slow.hedge_seconds > 1.0


def test_no_more_than_two_are_asked_at_once() -> None:
    racing = Racing(*models(3))
    racing.step()
    racing.now = 1.0
    assert racing.asks() == 1
    racing.now = 9.0
    assert racing.step() == Wait(None)
    racing.fail(0)
    assert racing.asks() == 2


def test_a_model_whose_breaker_is_open_is_asked_last() -> None:
    racing = Racing(opened("a"), *models(1))
    assert racing.asks() == 1
    assert racing.race.failover(1) == Failover("a", "a", "open")
    racing.fail(1)
    assert racing.asks() == 0


def test_one_that_is_half_open_is_tried_in_its_place() -> None:
    racing = Racing(opened("a"), *models(1), now=5.0)
    assert racing.asks() == 0
    assert Racing(racing.race._models[0], *models(1), now=5.1).asks() == 1, "one request tries it"


def test_a_lone_model_is_asked_whatever_its_breaker_says() -> None:
    assert Racing(opened("a")).asks() == 0


def test_losing_again_and_again_opens_the_breaker() -> None:
    """A model that hangs is never waited for until its deadline."""
    hung = ModelHealth("a")
    for start in range(3):
        racing = Racing(hung, ModelHealth("b"), now=float(start))
        assert racing.asks() == 0
        racing.now += 1.0
        racing.step()
        racing.race.began(1, racing.now)
    assert hung.breaker.state(racing.now) == "open"


def test_a_model_whose_server_asks_for_time_is_left_alone_from_then_on_and_the_next_is_asked_at_once() -> None:
    both = models(2)
    racing = Racing(*both)
    racing.step()
    racing.fail(0, "throttled", retry_after=20.0)
    assert racing.step() == Ask(1, PATIENCE)
    assert [Racing(*both, now=now).asks() for now in (19.9, 20.0)] == [1, 0]


def test_a_model_is_not_asked_again_before_its_server_wants_it() -> None:
    racing = Racing(*models(1))
    racing.step()
    racing.fail(0, "throttled", retry_after=1.5)
    racing.now = 0.5
    assert racing.step() == Ask(0, PATIENCE - 0.5, wait=1.0)


def test_nor_at_all_if_the_caller_had_to_wait_for_long() -> None:
    racing = Racing(*models(1))
    racing.step()
    racing.fail(0, "throttled", retry_after=2.5)
    assert racing.step() == GiveUp()


def test_what_is_wrong_with_a_request_opens_no_breaker() -> None:
    """One caller's broken tool must not take the model from the others."""
    health = ModelHealth("a")
    for failure in ("invalid_request", "context_length_exceeded", "invalid_request", "invalid_request"):
        racing = Racing(health)
        racing.step()
        racing.fail(0, failure)
    assert health.breaker.state(0.0) == "closed"


def test_when_all_have_failed_one_that_may_do_better_is_asked_once_more_after_a_moment() -> None:
    racing = Racing(*models(2))
    racing.step()
    racing.fail(0, "throttled")
    racing.step()
    racing.fail(1, "invalid_request")
    again = racing.step()
    assert isinstance(again, Ask)
    assert (again.index, again.hedge) == (0, False)
    assert 0.05 <= again.wait <= 0.25
    racing.fail(0, "throttled")
    assert racing.step() == GiveUp()


@pytest.mark.parametrize("failure", ["timeout", "invalid_request", "context_length_exceeded"])
def test_what_has_used_up_the_time_or_can_not_succeed_is_not_asked_again(failure: LlmFailure) -> None:
    racing = Racing(*models(1))
    racing.step()
    racing.fail(0, failure)
    assert racing.step() == GiveUp()


def test_what_one_begins_the_others_finish_and_then_one_is_asked_once_more_without_a_pause() -> None:
    racing = Racing(*models(2))
    racing.step()
    racing.race.began(0, 0.3)
    racing.fail(0, "throttled")
    assert racing.asks() == 1
    racing.race.began(1, 0.5)
    racing.fail(1, "throttled")
    assert racing.step() == Ask(0, PATIENCE)
    racing.race.began(0, 0.7)
    racing.fail(0, "throttled")
    assert racing.step() == GiveUp()


def test_a_lone_model_that_breaks_off_goes_on_itself_once_and_that_is_a_failover() -> None:
    racing = Racing(*models(1))
    racing.step()
    racing.race.began(0, 0.3)
    racing.fail(0, "interrupted")
    assert racing.step() == Ask(0, PATIENCE)
    assert racing.race.failover(0) == Failover("a", "a", "interrupted")
    racing.race.began(0, 0.7)
    racing.fail(0, "interrupted")
    assert racing.step() == GiveUp()


def test_one_that_is_asked_once_more_before_its_first_word_stands_in_for_nobody() -> None:
    racing = Racing(*models(1))
    racing.step()
    racing.fail(0)
    racing.step()
    racing.race.began(0, 0.3)
    assert racing.race.failover(0) is None


def test_a_lone_model_that_hangs_in_the_middle_has_used_up_the_time() -> None:
    racing = Racing(*models(1))
    racing.step()
    racing.race.began(0, 0.3)
    racing.fail(0, "timeout")
    assert racing.step() == GiveUp()


def test_one_that_lost_may_yet_finish_what_the_winner_began() -> None:
    racing = Racing(*models(2))
    racing.step()
    racing.now = 1.0
    racing.step()
    racing.race.began(1, 1.1)
    racing.fail(1, "interrupted")
    assert racing.asks() == 0


def test_all_together_may_be_silent_for_no_longer_than_one_alone() -> None:
    racing = Racing(*models(3))
    racing.step()
    racing.now = 7.0
    racing.fail(0)
    assert racing.step() == Ask(1, 3.0)
    racing.now = 9.9
    racing.fail(1)
    assert racing.step() == Ask(2, 1.0), "a second, for one that is well"


def test_a_model_that_answers_whole_closes_its_breaker() -> None:
    health = opened("a")
    racing = Racing(health, now=6.0)
    racing.step()
    racing.race.began(0, 6.2)
    assert health.breaker.state(6.2) == "open"
    racing.race.succeeded(0)
    assert health.breaker.state(6.2) == "closed"
