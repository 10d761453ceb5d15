"""The schedule, the rows and admission under calls as a gateway has them, on devices that were reckoned.

Each load runs the engine's own loop in virtual time. The figures are floors: a change of the schedule that makes
batches smaller, first audio later or admission less true fails here.
"""

from dataclasses import replace
from functools import cache

import pytest

from server.bench.devices import Gpu
from server.bench.simulation import before
from server.bench.simulation.comparison import most_calls
from server.bench.simulation.costs import Form, Parts, reckoned
from server.bench.simulation.ideal import ideal_streams, least_work
from server.bench.simulation.simulation import Figures, simulated
from server.bench.simulation.traffic import Traffic

SECONDS = 60.0
ALL_TALK = 0.95

HELD_BEFORE: dict[tuple[Gpu, Form], int] = {
    ("A10G", "windowed"): 26,
    ("A10G", "chunked"): 33,
    ("H200", "windowed"): 80,
    ("H200", "chunked"): 70,
}
"""Agents that talk nearly all the time, as many as the schedule held before batches formed (within 5 %)."""


@cache
def figures(gpu: Gpu, form: Form, parts: Parts, calls: int, talking: float = ALL_TALK) -> Figures:
    return simulated(reckoned(gpu, form, parts), Traffic(calls, talking), SECONDS)


@cache
def figures_before(gpu: Gpu, form: Form, calls: int) -> Figures:
    traffic = Traffic(calls, ALL_TALK, plan=before.HOPS)
    return simulated(reckoned(gpu, form, "eager"), traffic, SECONDS, before.next_work)


@pytest.mark.parametrize(("gpu", "form"), HELD_BEFORE)
def test_what_it_is_compared_with_holds_no_more_than_that(gpu: Gpu, form: Form) -> None:
    calls = HELD_BEFORE[gpu, form]

    assert figures_before(gpu, form, calls).holds
    assert not figures_before(gpu, form, round(calls * 1.25)).holds


@pytest.mark.parametrize(
    ("gpu", "parts", "times"),
    [("A10G", "eager", 1.3), ("H200", "eager", 1.6), ("A10G", "captured", 1.8), ("H200", "captured", 2.0)],
)
@pytest.mark.parametrize("form", ["windowed", "chunked"])
def test_more_streams_hold_and_first_audio_comes_no_later(gpu: Gpu, form: Form, parts: Parts, times: float) -> None:
    calls = HELD_BEFORE[gpu, form]

    then, now = figures_before(gpu, form, calls), figures(gpu, form, parts, round(calls * times))

    assert now.holds
    assert now.ran_dry == 0
    assert now.first_audio_p95_ms <= then.first_audio_p95_ms * 1.05


@pytest.mark.parametrize(
    ("gpu", "calls", "rows_per_step", "hops_per_render", "device_ms"),
    [("A10G", 30, 5.5, 1.0, 33.0), ("H200", 125, 11.0, 4.0, 7.5)],
)
def test_batches_form(gpu: Gpu, calls: int, rows_per_step: float, hops_per_render: float, device_ms: float) -> None:
    """On an A10G a render of one hop wastes nothing: the device is the limit there, not what launches its work."""
    under_load = figures(gpu, "windowed", "eager", calls)

    assert under_load.rows_per_step >= rows_per_step
    assert under_load.hops_per_render >= hops_per_render
    assert under_load.device_ms_per_audio_second <= device_ms


@pytest.mark.parametrize(
    ("gpu", "form", "parts", "calls", "of_ideal", "of_ideal_at_most", "least_of_work"),
    [
        ("A10G", "windowed", "eager", 35, 0.74, 0.86, 0.84),
        ("A10G", "windowed", "captured", 46, 0.75, 0.86, 0.86),
        ("A10G", "chunked", "eager", 43, 0.62, 0.80, 0.76),
        ("A10G", "chunked", "captured", 66, 0.68, 0.80, 0.83),
        ("H200", "windowed", "eager", 125, 0.46, 0.74, 0.60),
        ("H200", "windowed", "captured", 156, 0.58, 0.67, 0.85),
    ],
)
def test_most_of_the_work_is_what_any_schedule_does_whose_first_audio_comes_as_soon(
    gpu: Gpu, form: Form, parts: Parts, calls: int, of_ideal: float, of_ideal_at_most: float, least_of_work: float
) -> None:
    """So 90 % of the audio that would be made in one batch is out of reach."""
    costs, under_load = reckoned(gpu, form, parts), figures(gpu, form, parts, calls)
    ideal = ideal_streams(costs)

    least = least_work(costs, Traffic(calls, ALL_TALK), under_load.first_audio_p95_ms / 1e3, SECONDS)

    assert under_load.holds
    assert of_ideal <= 1e3 / under_load.device_ms_per_audio_second / ideal
    assert 1.0 / least <= of_ideal_at_most * ideal
    assert least_of_work <= least / under_load.work < 1.0


@pytest.mark.parametrize("parts", ["eager", "captured"])
@pytest.mark.parametrize("form", ["windowed", "chunked"])
@pytest.mark.parametrize("gpu", ["A10G", "H200"])
def test_nobody_runs_dry_while_as_many_talk_as_are_admitted(gpu: Gpu, form: Form, parts: Parts) -> None:
    admitted = figures(gpu, form, parts, 1).admitted

    full = figures(gpu, form, parts, admitted)

    assert full.ran_dry == 0
    assert full.first_audio_p95_ms < 250.0


@pytest.mark.parametrize("form", ["windowed", "chunked"])
def test_an_a10g_admits_most_of_those_it_could_keep(form: Form) -> None:
    admitted = figures("A10G", form, "eager", 1).admitted

    assert not figures("A10G", form, "eager", round(1.6 * admitted)).holds  # 0.95 of them talk, on average 0.85


def test_it_admitted_more_than_it_could_keep_before() -> None:
    admitted = before.admitted(reckoned("A10G", "windowed", "eager").calibrated(), rows=256)

    assert admitted == 36
    assert not figures_before("A10G", "windowed", admitted).holds


def test_callers_who_listen_half_of_the_time_leave_room_for_more_calls() -> None:
    calls = figures("A10G", "windowed", "eager", 50, talking=0.45)

    assert calls.ran_dry == 0
    assert 0.35 * 50 < calls.streams < 0.55 * 50
    assert 0.0 < calls.lost_share < 0.1, "callers interrupt"


def test_one_seed_gives_the_same_figures_and_another_one_others() -> None:
    costs = reckoned("A10G", "windowed", "eager")
    traffic = Traffic(calls=12, early=False)

    first = simulated(costs, traffic, 20.0)

    assert simulated(costs, traffic, 20.0) == first
    assert simulated(costs, replace(traffic, seed=1), 20.0) != first
    assert first.reasons["draw: first audio"] > 0


def test_the_most_calls_that_hold_are_found_from_below_and_from_above() -> None:
    def run(traffic: Traffic) -> Figures:
        held = traffic.calls <= 37
        return replace(some, calls=traffic.calls, chunks=1, ran_dry=int(not held), first_audio_p95_ms=1.0)

    some = figures("A10G", "windowed", "eager", 1)

    for first_tried in (1, 24, 200):
        assert 35 <= most_calls(run, Traffic(first_tried)).calls <= 37
    assert most_calls(lambda traffic: replace(run(traffic), ran_dry=1), Traffic(8)).calls == 1
