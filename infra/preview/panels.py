"""A graph's lines with their values, or the reason why it has none."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from infra.metrics import NODE_DIMENSION, Boot
from infra.preview.expressions import evaluate
from infra.preview.series import Recorded, Values
from infra.preview.template import Line, Query, Widget, search

_DEFAULT_PERIOD = 300


@dataclass(frozen=True, slots=True)
class Curve:
    """A line as it is drawn: seconds from the recording's start, values, and on which axis."""

    label: str
    seconds: Values
    values: Values
    right: bool


def curves(widget: Widget, recorded: Recorded) -> list[Curve]:
    """What can be drawn of a graph."""
    return [curve for line in widget.lines if line.visible for curve in _curve(line, widget.lines, recorded)]


def exporters(widget: Widget) -> list[str]:
    """Who would have to report for the graph to show all of its lines."""
    named = [line.source if isinstance(line.source, Query) else search(line.source) for line in widget.lines]
    return sorted({_exporter(query) for query in named if query})


def _curve(line: Line, lines: Sequence[Line], recorded: Recorded) -> Iterator[Curve]:
    searched = search(line.source) if isinstance(line.source, str) else None
    query = searched or line.source
    label = "i-recorded" if searched and NODE_DIMENSION in searched.dimensions else line.label
    if isinstance(query, Query):
        values, period = recorded.statistic(query), query.period
    else:
        periods = [other.source.period for other in lines if isinstance(other.source, Query)]
        values, period = _evaluated(query, lines, recorded), max(periods, default=_DEFAULT_PERIOD)
    if values is not None and not np.isnan(values).all():
        middles = np.array([(number + 0.5) * period for number in range(len(values))])
        yield Curve(label, middles, values, line.right)


def _evaluated(expression: str, lines: Sequence[Line], recorded: Recorded) -> Values | None:
    by_id = {line.id: line.source for line in lines if line.id}

    def values(name: str) -> Values | None:
        source = by_id[name]
        return recorded.statistic(source) if isinstance(source, Query) else evaluate(source, values)

    return evaluate(expression, values)


def _exporter(query: Query) -> str:
    if query.name in set(Boot):
        return "node_exporter"  # which serves the boot scripts' files beside its own
    for prefix, exporter in {"DCGM_": "dcgm-exporter", "node_": "node_exporter", "voice_": "the node"}.items():
        if query.name.startswith(prefix):
            return exporter
    return query.namespace
