"""What a node spent, from two looks at its metrics: differences, and quantiles as Prometheus reckons them."""

import math
import os
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from server.bench.node_usage import MetricsUnavailable, NodeSample, quantile, sample, usage
from server.observability import metrics

LATENESS, LOOP_LAG = "voice_frame_lateness_seconds", "voice_event_loop_lag_seconds"
INFINITY = math.inf


def at(gateway_cpu: float, stt_cpu: float, lateness: dict[float, float]) -> NodeSample:
    cpu = {"gateway": gateway_cpu, "stt": stt_cpu, "tts": 0.5}
    return NodeSample(cpu, 100 * 2**20, 0.0, {LATENESS: lateness, LOOP_LAG: {}})


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
    assert spent.cpu == {"gateway": 0.06, "stt": 0.01, "tts": 0.0}
    assert spent.workers_cpu == 0.01
    assert spent.gateway_mib == 100
    assert spent.frame_lateness_p50_ms == 15
    assert spent.loop_lag_p99_ms is None


def test_without_a_second_of_calls_there_is_nothing_to_divide_by() -> None:
    spent = usage(at(1.0, 0.0, {}), at(2.0, 0.0, {}), call_seconds=0.0)
    assert spent.cpu == {}
    assert spent.workers_cpu == 0.0


def test_metrics_that_cannot_be_read_are_named() -> None:
    with pytest.raises(MetricsUnavailable, match="/metrics can't be read"):
        sample("http://127.0.0.1:1/metrics")


def test_what_the_models_and_the_workers_spent_is_told_apart(tmp_path: Path) -> None:
    page = tmp_path / "metrics"
    page.write_text(
        "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 3.5\n"
        "# TYPE voice_model_cpu_seconds_total counter\n"
        'voice_model_cpu_seconds_total{model="vad"} 1.5\nvoice_model_cpu_seconds_total{model="smart_turn"} 0.5\n'
        "# TYPE voice_tts_worker_process_cpu_seconds_total counter\nvoice_tts_worker_process_cpu_seconds_total 7.0\n"
        "# TYPE voice_tts_worker_process_resident_memory_bytes gauge\n"
        "voice_tts_worker_process_resident_memory_bytes 4096\n"
    )
    read = sample(page.as_uri())
    assert read.cpu == {"gateway": 3.5, "vad": 1.5, "smart_turn": 0.5, "stt": 0.0, "tts": 7.0}
    assert read.workers_bytes == 4096


def test_a_gateway_tells_what_the_workers_that_it_started_use_while_they_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = tmp_path / "metrics"
    monkeypatch.setitem(metrics.worker_pids, "stt", os.getpid())
    page.write_bytes(generate_latest(metrics.REGISTRY))
    assert sample(page.as_uri()).cpu["stt"] > 0
    assert sample(page.as_uri()).workers_bytes > 2**20
    monkeypatch.delitem(metrics.worker_pids, "stt")
    page.write_bytes(generate_latest(metrics.REGISTRY))
    assert b"voice_stt_worker" not in page.read_bytes()
