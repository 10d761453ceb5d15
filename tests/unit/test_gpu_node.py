"""The measurement of a whole GPU: a stage that fails or hangs stops nothing else; which loads are tried."""

import sys
from pathlib import Path

import pytest

from server.bench.load_report import LoadResult, report
from tests.bench.gpu_node import run_stage
from tests.bench.node_sessions import CallsAtOnce, next_calls
from tests.bench.stt_throughput import arrivals


def _stage(code: str, tmp_path: Path, limit: float = 60.0) -> str:
    return run_stage([sys.executable, "-c", code], tmp_path / "stage.log", limit)


def test_a_stage_that_does_well_has_nothing_to_report(tmp_path: Path) -> None:
    assert _stage("import sys; print('a warning', file=sys.stderr)", tmp_path) == ""


def test_a_stage_that_fails_says_why(tmp_path: Path) -> None:
    assert _stage("raise ValueError('no such voice')", tmp_path) == "exit code 1; ValueError: no such voice"


def test_a_stage_that_hangs_is_stopped(tmp_path: Path) -> None:
    assert _stage("import time; time.sleep(600)", tmp_path, limit=0.5) == "stopped after 0 s"


@pytest.mark.parametrize(
    ("holds", "tried"),
    [
        (0, [1]),
        (1, [1, 2]),
        (8, [1, 2, 4, 8]),
        (5, [1, 2, 4, 8, 6, 5]),
        (100, [1, 2, 4, 8]),
    ],
)
def test_calls_are_doubled_until_too_many_and_then_halved_in(holds: int, tried: list[int]) -> None:
    levels: list[CallsAtOnce] = []
    for calls in next_calls(levels, most=8):
        beyond_p95_ms = 100.0 if calls <= holds else 501.0
        levels.append(CallsAtOnce(calls, 0.0, beyond_p95_ms, report(LoadResult())))
    assert [level.calls for level in levels] == tried


def test_utterances_arrive_as_often_as_so_many_calls_speak_and_the_same_each_time() -> None:
    times = arrivals(64, 100.0)
    assert times == sorted(times)
    assert times[0] == 0.0
    assert times[-1] < 100.0
    assert len(times) == pytest.approx(64 * 100 / 8, rel=0.1)
    assert arrivals(64, 100.0) == times
