"""The least work that any schedule could do: counted steps, and calls as the simulator has them."""

from dataclasses import replace

import pytest

from server.bench.simulation.costs import reckoned
from server.bench.simulation.ideal import Window, fewest_steps, least_work
from server.bench.simulation.simulation import simulated
from server.bench.simulation.traffic import Traffic

COSTS = reckoned("A10G", "windowed", "eager")
CALLS = Traffic(calls=20, talking=0.95)


@pytest.mark.parametrize(
    ("windows", "steps"),
    [
        ([], 0),
        ([Window(0.0, 10.0, 4)], 4),
        ([Window(0.0, 10.0, 4), Window(0.0, 10.0, 6)], 6),
        ([Window(0.0, 10.0, 4), Window(10.0, 20.0, 4)], 8),
        ([Window(0.0, 10.0, 4), Window(8.0, 20.0, 4)], 6),
        ([Window(8.0, 20.0, 4), Window(0.0, 10.0, 4), Window(2.0, 6.0, 3)], 7),
        ([Window(0.0, 3.0, 4)], 3),
    ],
    ids=["none", "one", "the same", "apart", "two in both", "three, in any order", "no room"],
)
def test_a_step_counts_for_every_window_that_it_is_in(windows: list[Window], steps: int) -> None:
    assert fewest_steps(windows, 1.0) == steps


def test_the_later_first_audio_may_come_the_less_work_it_takes() -> None:
    soon, later, last = (least_work(COSTS, CALLS, within, 60.0) for within in (0.1, 0.2, 5.0))

    assert soon > later > last


def test_no_schedule_of_any_patience_does_less() -> None:
    for calls in (5, 20, 35):
        traffic = replace(CALLS, calls=calls)
        done = simulated(COSTS, traffic, 60.0)

        assert least_work(COSTS, traffic, done.first_audio_p95_ms / 1e3, 60.0) < done.work
