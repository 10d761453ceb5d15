"""What a node publishes of a histogram: only what is new, by the middle of its bucket, within CloudWatch's limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from server.fleet.cloudwatch import PUBLISHED_HISTOGRAMS, HistogramDeltas
from server.observability.waterfall import STAGES

BOUNDS = (0.5, 1.0, 2.0)
MOST_VALUES = 150
MOST_METRICS = 1000


def histogram(*labels: str) -> Histogram:
    return Histogram("seconds", "Test.", labels, buckets=BOUNDS, registry=CollectorRegistry())


def test_each_measurement_is_told_once_by_the_middle_of_its_bucket() -> None:
    measured = histogram()
    measured.observe(0.1)
    deltas = HistogramDeltas(measured)
    assert deltas.take() == {}, "what was before is not new"
    for seconds in (0.2, 0.3, 1.9, 2.0, 60.0):
        measured.observe(seconds)
    assert deltas.take() == {(): {0.25: 2, 1.5: 2, 2.0: 1}}
    assert deltas.take() == {}
    measured.observe(0.7)
    assert deltas.take() == {(): {0.75: 1}}


def test_each_set_of_labels_is_a_distribution_of_its_own() -> None:
    measured = histogram("stage")
    deltas = HistogramDeltas(measured)
    measured.labels("stt").observe(0.7)
    measured.labels("tts").observe(0.1)
    assert deltas.take() == {(("stage", "stt"),): {0.75: 1}, (("stage", "tts"),): {0.25: 1}}
    measured.labels("tts").observe(0.1)
    assert deltas.take() == {(("stage", "tts"),): {0.25: 1}}


@given(st.lists(st.lists(st.floats(0, 5), max_size=20), max_size=5))
def test_nothing_is_lost_or_counted_twice(beats: list[list[float]]) -> None:
    measured = histogram()
    deltas = HistogramDeltas(measured)
    for beat in beats:
        for seconds in beat:
            measured.observe(seconds)
        assert sum(deltas.take().get((), {}).values()) == len(beat)


@pytest.mark.parametrize("published", PUBLISHED_HISTOGRAMS, ids=lambda published: published.describe()[0].name)
def test_a_request_stays_within_the_limits(published: Histogram) -> None:
    assert len(published._upper_bounds) <= MOST_VALUES
    assert 1 + len(PUBLISHED_HISTOGRAMS) * len(STAGES) <= MOST_METRICS
