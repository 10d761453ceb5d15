"""A recording of one node, as the statistics that CloudWatch would hold of it.

The node publishes its distributions and its utilisation every ten seconds; the agent takes a gauge as it is and of a
counter the growth, once a minute and from the second scrape on. A fleet of this one node is assumed.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Histogram, Metric
from prometheus_client.parser import text_string_to_metric_families

from infra.metrics import NODE_DIMENSION, SCRAPE_SECONDS, exported_name
from infra.preview.recording import Scrape
from infra.preview.template import NotUnderstood, Query
from server.fleet.cloudwatch import GROUP_DIMENSION, NAMESPACE, PUBLISHED_HISTOGRAMS, HistogramDeltas
from server.observability import metrics

Values = NDArray[np.float64]
Points = Iterator[tuple[float, float, float]]  # seconds, value, how often

_ONE_NODE = {
    "GroupInServiceInstances": 1.0,
    "GroupTotalInstances": 1.0,
    "GroupDesiredCapacity": 1.0,
    "GroupPendingInstances": 0.0,
    "GroupTerminatingInstances": 0.0,
}
_HISTOGRAMS = {exported_name(histogram): histogram for histogram in PUBLISHED_HISTOGRAMS}
_PUBLISHED_GAUGE = exported_name(metrics.sessions_utilization)


class Recorded:
    """The statistics of a recording."""

    def __init__(self, scrapes: Sequence[Scrape]) -> None:
        self._pages = [(scrape.at, list(text_string_to_metric_families(scrape.text))) for scrape in scrapes]
        self.seconds = scrapes[-1].at

    def statistic(self, query: Query) -> Values | None:
        """One value for each whole period, not a number where there was none; none if nothing like it is recorded."""
        points = list(self._points(query))
        if not points:
            return None
        periods = max(1, int(self.seconds // query.period))
        inside: list[list[tuple[float, float]]] = [[] for _ in range(periods)]
        for at, value, count in points:
            if at < periods * query.period:
                inside[int(at // query.period)].append((value, count))
        return np.array([_reduced(query.statistic, values) for values in inside])

    def _points(self, query: Query) -> Points:
        if query.namespace == "AWS/AutoScaling" and query.name in _ONE_NODE:
            return ((at, _ONE_NODE[query.name], 1.0) for at, _ in self._minutes)
        if query.namespace != NAMESPACE:
            return iter(())
        labels = {key: value for key, value in query.dimensions.items() if key not in {GROUP_DIMENSION, NODE_DIMENSION}}
        if query.name in _HISTOGRAMS:
            return self._distribution(query.name, labels)
        if query.name == _PUBLISHED_GAUGE:
            return self._gauge(self._pages, query.name, labels)
        return self._scraped(query.name, labels)

    @cached_property
    def _minutes(self) -> list[tuple[float, list[Metric]]]:
        """The pages that the agent would have seen."""
        seen: dict[int, tuple[float, list[Metric]]] = {}
        for at, page in self._pages:
            seen.setdefault(int(at // SCRAPE_SECONDS), (at, page))
        return list(seen.values())

    def _distribution(self, name: str, labels: Mapping[str, str]) -> Points:
        """What the publisher would have sent, by the publisher's own arithmetic."""
        page = _Page(name)
        deltas = HistogramDeltas(cast(Histogram, page))
        for at, page.families in self._pages:
            for found, values in deltas.take().items():
                if dict(found).items() >= labels.items() and page.seen:
                    yield from ((at, value, count) for value, count in values.items())
            page.seen = True

    @staticmethod
    def _gauge(pages: Sequence[tuple[float, list[Metric]]], name: str, labels: Mapping[str, str]) -> Points:
        for at, page in pages:
            yield from ((at, value, 1.0) for value in _samples(page, name, labels).values())

    def _scraped(self, name: str, labels: Mapping[str, str]) -> Points:
        if not name.endswith("_total"):
            yield from self._gauge(self._minutes, name, labels)
            return
        before: dict[str, float] = {}
        for at, page in self._minutes:
            now = _samples(page, name, labels)
            yield from ((at, _growth(before[series], value), 1.0) for series, value in now.items() if series in before)
            before = now


class _Page:
    """Stands where the publisher expects a histogram: gives it the one of that name on the page that is looked at."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.families: list[Metric] = []
        self.seen = False  # whether there was a page before, so that what has grown since is known

    def collect(self) -> list[Metric]:
        return [family for family in self.families if family.name == self._name]


def _samples(page: Sequence[Metric], name: str, labels: Mapping[str, str]) -> dict[str, float]:
    return {
        str(sample.labels): sample.value
        for family in page
        for sample in family.samples
        if sample.name == name and sample.labels.items() >= labels.items()
    }


def _growth(before: float, now: float) -> float:
    return now - before if now >= before else now  # it began anew with its process


def _reduced(statistic: str, values: Sequence[tuple[float, float]]) -> float:
    if not values:
        return float("nan")
    numbers, counts = (np.array(column) for column in zip(*values, strict=True))
    if statistic.startswith("p"):
        order = np.argsort(numbers)
        rank = np.searchsorted(np.cumsum(counts[order]), counts.sum() * float(statistic[1:]) / 100)
        return float(numbers[order][min(int(rank), len(numbers) - 1)])
    match statistic:
        case "Sum":
            return float((numbers * counts).sum())
        case "Average":
            return float((numbers * counts).sum() / counts.sum())
        case "SampleCount":
            return float(counts.sum())
        case "Minimum":
            return float(numbers.min())
        case "Maximum":
            return float(numbers.max())
    raise NotUnderstood(
        f"got the statistic {statistic!r}; takes Sum, Average, SampleCount, Minimum, Maximum, p0 to p100"
    )
