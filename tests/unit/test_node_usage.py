"""What a node spent, from two looks at its metrics: differences, and quantiles as Prometheus reckons them."""

import math
import os
from pathlib import Path

import pytest

from server.bench.node_usage import MetricsUnavailable, NodeSample, quantile, sample, usage

LATENESS, LOOP_LAG = "voice_frame_lateness_seconds", "voice_event_loop_lag_seconds"
INFINITY = math.inf


def at(gateway_cpu: float, workers_cpu: float, lateness: dict[float, float]) -> NodeSample:
    return NodeSample(gateway_cpu, 100 * 2**20, workers_cpu, 0.0, {LATENESS: lateness, LOOP_LAG: {}})


def test_a_quantile_lies_inside_its_bucket_in_proportion() -> None:
    buckets = {0.01: 50.0, 0.02: 100.0, INFINITY: 100.0}
    assert quantile(buckets, 0.5) == pytest.approx(0.01)
    assert quantile(buckets, 0.75) == pytest.approx(0.015)


def test_beyond_the_last_bound_the_histogram_can_tell_no_more_than_that_bound() -> None:
    assert quantile({0.01: 1.0, INFINITY: 100.0}, 0.99) == 0.01


def test_of_nothing_there_is_no_quantile() -> None:
    assert quantile({}, 0.5) is None
    assert quantile({0.01: 0.0, INFINITY: 0.0}, 0.5) is None


def test_only_what_happened_between_the_samples_counts() -> None:
    before = at(10.0, 4.0, {0.01: 1000.0, 0.02: 1000.0, INFINITY: 1000.0})
    after = at(16.0, 5.0, {0.01: 1000.0, 0.02: 1100.0, INFINITY: 1100.0})
    spent = usage(before, after, call_seconds=100.0)
    assert spent.gateway_cpu == 0.06
    assert spent.workers_cpu == 0.01
    assert spent.gateway_mib == 100
    assert spent.frame_lateness_p50_ms == 15
    assert spent.loop_lag_p99_ms is None


def test_without_a_second_of_calls_there_is_nothing_to_divide_by() -> None:
    spent = usage(at(1.0, 0.0, {}), at(2.0, 0.0, {}), call_seconds=0.0)
    assert spent.gateway_cpu is None
    assert spent.workers_cpu is None


def test_metrics_that_cannot_be_read_are_named() -> None:
    with pytest.raises(MetricsUnavailable, match="/metrics can't be read"):
        sample("http://127.0.0.1:1/metrics")


def test_a_process_has_the_cpu_and_memory_of_its_children_beside_its_own(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics"
    metrics.write_text("# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 3.5\n")
    read = sample(metrics.as_uri(), pid=os.getppid())
    assert read.gateway_cpu == 3.5
    assert read.workers_cpu > 0  # this very process is one of them
    assert read.workers_bytes > 2**20
