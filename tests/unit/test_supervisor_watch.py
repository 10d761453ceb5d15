"""When a worker is started again and when it is given up, in virtual time."""

from server.workers.restarts import CHECKS_MISSED, LONGEST_DELAY, STABLE_SECONDS, START_SECONDS, Watch, WorkerState


def _serving(now: float = 0.0) -> Watch:
    watch = Watch(jitter=lambda: 1.0)
    watch.started(now)
    watch.checked(True, now)
    return watch


def test_a_worker_goes_through_its_states() -> None:
    watch = Watch()
    states = [watch.state]
    for event in (
        lambda: watch.started(0.0),
        lambda: watch.checked(False, 1.0),
        lambda: watch.checked(True, 2.0),
        lambda: watch.checked(False, 3.0),
        lambda: watch.ended(4.0),
        lambda: watch.started(5.0),
        watch.stopped,
    ):
        event()
        states.append(watch.state)
    assert states == ["stopped", "starting", "starting", "serving", "serving", "restarting", "starting", "stopped"]


def test_three_missed_checks_in_a_row_are_a_wedged_worker() -> None:
    watch = _serving()
    assert [watch.checked(False, now) for now in (1.0, 2.0, 3.0)] == [False, False, True]


def test_a_check_answered_in_between_forgives_the_missed_ones() -> None:
    watch = _serving()
    for now in range(20):
        assert not watch.checked(now % CHECKS_MISSED == 0, float(now))


def test_loading_a_large_model_is_no_wedge_but_loading_for_ever_is() -> None:
    watch = Watch()
    watch.started(0.0)
    assert not any(watch.checked(False, float(now)) for now in range(int(START_SECONDS) + 1))
    assert watch.checked(False, START_SECONDS + 1)


def test_the_pauses_double_up_to_a_bound() -> None:
    watch, delays = _serving(), []
    for now in range(8):
        delays.append(watch.ended(float(now)))
        watch.started(float(now))
        watch.checked(True, float(now))
    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, LONGEST_DELAY, LONGEST_DELAY]
    assert watch.restarts == 8


def test_the_pauses_of_workers_that_died_together_differ() -> None:
    pauses = []
    for share in (0.0, 1.0):
        watch = Watch(jitter=lambda share=share: share)  # type: ignore[misc] # mypy can't infer a lambda's default
        watch.started(0.0)
        watch.checked(True, 0.0)
        pauses.append(watch.ended(1.0))
    assert pauses == [0.1, 0.2]


def test_a_worker_that_was_stable_starts_again_as_if_nothing_had_been() -> None:
    watch = _serving()
    for _ in range(5):
        watch.ended(1.0)
        watch.started(1.0)
    watch.checked(True, 1.0)
    assert watch.ended(1.0 + STABLE_SECONDS) == 0.2


def test_a_worker_that_cannot_start_is_given_up_at_the_third_time() -> None:
    watch, delays = Watch(), []
    for now in range(3):
        watch.started(float(now))
        delays.append(watch.ended(float(now)))
    assert [delay is None for delay in delays] == [False, False, True]
    assert watch.state is WorkerState.STOPPED


def test_a_worker_that_refuses_to_start_is_given_up_at_once() -> None:
    watch = Watch()
    watch.started(0.0)
    assert watch.ended(1.0, refuses=True) is None
    assert watch.state is WorkerState.STOPPED


def test_a_worker_that_has_served_is_never_given_up() -> None:
    watch = _serving()
    for now in range(50):
        assert watch.ended(float(now), refuses=True) is not None
        watch.started(float(now))
