"""Every metric that something in a synthesised template names: alarms, scaling policies, dashboards."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from infra.preview.template import Query, dashboards, resolved, search


@dataclass(frozen=True, slots=True)
class Named:
    """A metric, and what names it. Its dimensions are in order; of one that a search finds, a value may be `*`."""

    by: str
    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]


def named_metrics(template: Mapping[str, Any]) -> set[Named]:
    """Every metric of an alarm, a scaling policy or a dashboard, ingredients of expressions and searches included."""
    found: set[Named] = set()
    for logical_id, resource in template["Resources"].items():
        if resource["Type"] in {"AWS::CloudWatch::Alarm", "AWS::AutoScaling::ScalingPolicy"}:
            found.update(_inside(resource["Properties"], logical_id, template["Resources"]))
    for dashboard, widgets in dashboards(template).items():
        for widget in widgets:
            for line in widget.lines:
                query = line.source if isinstance(line.source, Query) else search(line.source)
                if query:
                    found.add(_named(f"dashboard {dashboard}", query.namespace, query.name, query.dimensions))
    return found


def _inside(part: Any, by: str, resources: Mapping[str, Any]) -> Iterator[Named]:
    """Wherever a namespace and a name stand together, at whatever depth."""
    if isinstance(part, dict):
        if {"Namespace", "MetricName"} <= part.keys():
            dimensions = {pair["Name"]: resolved(pair["Value"], resources) for pair in part.get("Dimensions", [])}
            yield _named(by, part["Namespace"], part["MetricName"], dimensions)
        for value in part.values():
            yield from _inside(value, by, resources)
    elif isinstance(part, list):
        for value in part:
            yield from _inside(value, by, resources)


def _named(by: str, namespace: str, name: str, dimensions: Mapping[str, str]) -> Named:
    return Named(by, namespace, name, tuple(sorted(dimensions.items())))
