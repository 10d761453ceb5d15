"""What figures of one GPU say about another: the arithmetic, on figures whose answer is known."""

from dataclasses import replace

import pytest

from tests.bench.a10g import Gpu, Measured, NodeMeasured, Rendering, Step, scaled

# A step reads 1 GB and 10 MB a row, at half of 1 TB/s; a second of audio takes 10 ms, at a tenth of 100 TFLOP/s.
# 25 steps of N rows: 25 * (1 + 0.01 N) / 500 s = 0.05 + 0.0005 N; and 0.01 N: at most 0.85 up to N = 76.
_HERE = Measured(
    bandwidth=1e12,
    flops=100e12,
    steps=[Step(rows, (1e9 + 1e7 * rows) / 500e9, 1e9 + 1e7 * rows) for rows in (1, 32, 128)],
    renderings=[Rendering("flow", 80e9, 0.2e9, 0.008), Rendering("vocoder", 20e9, 0.1e9, 0.002)],
    row_bytes=100e6,
    streams=76,
    rows=128,
)
_SAME = Gpu(bandwidth=1e12, flops=100e12, memory=1e12, cores=4)


def test_the_same_device_speaks_what_was_measured() -> None:
    assert scaled(_HERE, _SAME).streams == 76


def test_half_the_bandwidth_costs_only_what_the_steps_cost() -> None:
    # 0.1 + 0.001 N + 0.01 N <= 0.85
    assert scaled(_HERE, replace(_SAME, bandwidth=0.5e12)).streams == 68


def test_half_the_flops_cost_what_the_renderings_cost() -> None:
    # 0.05 + 0.0005 N + 0.02 N <= 0.85
    assert scaled(_HERE, replace(_SAME, flops=50e12)).streams == 39


def test_a_rendering_that_moves_more_than_it_computes_costs_what_the_bandwidth_does() -> None:
    # 0.1 + 0.001 N + (0.008 + 2 * 0.002) N <= 0.85
    moving = [_HERE.renderings[0], replace(_HERE.renderings[1], bytes_moved=1e9)]
    assert scaled(replace(_HERE, renderings=moving), replace(_SAME, bandwidth=0.5e12)).streams == 57


def test_what_the_sum_leaves_out_is_lost_there_too() -> None:
    assert scaled(replace(_HERE, streams=38), _SAME).streams == 38


def test_a_device_that_held_more_than_the_sum_says_promises_nothing_more() -> None:
    assert scaled(replace(_HERE, streams=100), _SAME).streams == 76


def test_rows_end_with_the_memory() -> None:
    # (5 - 3) GB, half of it for rows of 100 MB
    assert scaled(_HERE, replace(_SAME, memory=5e9)).streams == 10


def test_a_device_too_slow_for_one_stream_speaks_none() -> None:
    assert scaled(_HERE, replace(_SAME, bandwidth=10e9)).streams == 0


def test_a_step_of_few_rows_keeps_its_own_share_of_the_bandwidth() -> None:
    slow_alone = replace(_HERE, steps=[replace(_HERE.steps[0], seconds=_HERE.steps[0].seconds * 10), *_HERE.steps[1:]])
    few = replace(_SAME, flops=5e12)  # so slow at rendering that only few streams are in question
    assert scaled(slow_alone, few).streams < scaled(_HERE, few).streams


@pytest.mark.parametrize(("gateway_cpu", "sessions"), [(0.001, 152), (0.01, 85)])
def test_sessions_are_bounded_by_the_gpu_and_by_the_gateways_core(gateway_cpu: float, sessions: int) -> None:
    assert scaled(_HERE, _SAME, NodeMeasured(152, gateway_cpu)).sessions == sessions


def test_without_a_node_nothing_is_said_of_sessions() -> None:
    found = scaled(_HERE, _SAME)
    assert found.sessions is None
    assert not any("sessions" in line for line in found.arithmetic)


def test_every_figure_of_the_arithmetic_is_shown() -> None:
    shown = "\n".join(scaled(_HERE, replace(_SAME, bandwidth=0.5e12), NodeMeasured(152, 0.01)).arithmetic)
    for figure in (
        "1.000 GB and 10.00 MB a row",
        "50% at 1, 50% at 32, 50% at 128 rows of the 1000 GB/s",
        "80.0 GFLOP",
        "10.0% of 100.00 TFLOP/s",
        "25 * 6.72 ms + 68 * 10.00 ms = 0.85 s",
        "(1000 - 3) GB * 0.5 / 100.0 MB a row = 4985 rows",
        "68 there; 76 by the same sum here, where 76 held of 128 rows: 100%",
        "**68 streams**",
        "0.85 / 0.0100 = 85 calls",
        "**85 sessions**",
    ):
        assert figure in shown
