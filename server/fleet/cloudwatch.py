"""What a node itself tells CloudWatch: every ten seconds its utilisation, and how long answers took, as distributions;
and when it leaves, how many calls it has cut.

The CloudWatch agent's scrape is too slow for the first and the last, and drops histograms; everything else on /metrics
is its task. A measurement that can't be delivered is dropped: a late one would be counted as a present one.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import structlog
from prometheus_client import Histogram

from server.aws import make_client, what_failed
from server.fleet.group_requests import Answer
from server.observability import metrics

log = structlog.get_logger(__name__)

NAMESPACE = "Voicefleet"
GROUP_DIMENSION = "AutoScalingGroupName"
PERIOD_SECONDS = 10.0
PUBLISHED_HISTOGRAMS = (metrics.voice_to_voice_seconds, metrics.turn_stage_seconds, metrics.clause_lateness_seconds)
"""Each of a few dozen buckets; CloudWatch takes 150 values in one datum."""

Labels = tuple[tuple[str, str], ...]


class HistogramDeltas:
    """What has come into a histogram of seconds since it was last looked at."""

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._seen: dict[Labels, list[float]] = {}
        self.take()

    def take(self) -> dict[Labels, dict[float, float]]:
        """For each set of labels into which something came: how many there were, by the middle of their bucket."""
        taken = {}
        for labels, buckets in self._buckets().items():
            counts = list(buckets.values())
            before = self._seen.get(labels, [0.0] * len(counts))
            self._seen[labels] = counts
            taken[labels] = dict(
                _between(list(buckets), [now - then for now, then in zip(counts, before, strict=True)])
            )
        return {labels: values for labels, values in taken.items() if values}

    def _buckets(self) -> Mapping[Labels, dict[float, float]]:
        """Cumulative counts by their upper bound, in rising order."""
        found: dict[Labels, dict[float, float]] = {}
        for family in self._histogram.collect():
            for sample in family.samples:
                if sample.name == f"{family.name}_bucket":
                    labels = dict(sample.labels)
                    bound = float(labels.pop("le"))
                    found.setdefault(tuple(labels.items()), {})[bound] = sample.value
        return found


def _between(bounds: list[float], cumulative: list[float]) -> Iterator[tuple[float, float]]:
    lower = below = 0.0
    for upper, count in zip(bounds, cumulative, strict=True):
        if count > below:
            yield (lower if upper == float("inf") else (lower + upper) / 2), count - below
        lower, below = upper, count


class Publisher:
    """Publishes for the group's node. Its calls block for some seconds at most; they belong in one thread at a time."""

    def __init__(self, group: str, region: str) -> None:
        self._group = {"Name": GROUP_DIMENSION, "Value": group}
        self._region = region
        self._deltas = {histogram: HistogramDeltas(histogram) for histogram in PUBLISHED_HISTOGRAMS}
        self._client: Any = None
        self._failing = False

    def publish(self, utilization: float | None) -> None:
        """Publish what there is; `utilization` is None while it would tell the fleet nothing."""
        data = [*self._distributions()]
        if utilization is not None:
            data.append(self._datum(metrics.sessions_utilization, {"Value": utilization, "Unit": "None"}))
        if data:
            self._put(data)

    def publish_cut(self, calls: float) -> Answer:
        """Publish that so many calls were cut; what became of it."""
        return self._put([self._datum(metrics.drain_cut_calls, {"Value": calls, "Unit": "Count"})])

    def _put(self, data: list[dict[str, Any]]) -> Answer:
        try:
            self._client = self._client or make_client("cloudwatch", self._region)
            self._client.put_metric_data(Namespace=NAMESPACE, MetricData=data)
        except Exception as error:
            metrics.fleet_errors.labels("PutMetricData").inc()
            if not self._failing:
                log.warning("cloudwatch_failed", error=what_failed(error))
            self._failing = True
            return Answer.FAILED
        if self._failing:
            log.info("cloudwatch_back")
        self._failing = False
        return Answer.DONE

    def _distributions(self) -> Iterator[dict[str, Any]]:
        for histogram, deltas in self._deltas.items():
            for labels, values in deltas.take().items():
                value = {"Values": list(values), "Counts": list(values.values()), "Unit": "Seconds"}
                yield self._datum(histogram, value, labels)

    def _datum(self, metric: Any, value: dict[str, Any], labels: Labels = ()) -> dict[str, Any]:
        (family,) = metric.describe()
        exported = f"{family.name}_total" if family.type == "counter" else family.name  # as on the page of metrics
        further = [{"Name": name, "Value": label} for name, label in labels]
        return {"MetricName": exported, "Dimensions": [self._group, *further], "StorageResolution": 1} | value
