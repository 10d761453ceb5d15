"""The dashboards of a synthesised template, as data."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from server.errors import VoicefleetError

_SEARCH = re.compile(r"SEARCH\('\{(?P<keys>[^}]*)\} (?P<terms>[^']*)', '(?P<statistic>[^']*)', (?P<period>\d+)\)")
_TERM = re.compile(r'(\w+)="([^"]*)"')


class NotUnderstood(VoicefleetError):
    """A dashboard uses something that our own do not."""


@dataclass(frozen=True, slots=True)
class Query:
    """A metric of CloudWatch; `dimensions` are by name, `period` is in seconds."""

    namespace: str
    name: str
    dimensions: Mapping[str, str]
    statistic: str = "Average"
    period: int = 300


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a graph, or an ingredient of one (`visible` is false): a metric, a search or an expression."""

    id: str
    label: str
    source: Query | str
    visible: bool = True
    right: bool = False


@dataclass(frozen=True, slots=True)
class Widget:
    """A panel; places and sizes in the dashboard's grid of 24 columns, `properties` as CloudWatch names them."""

    kind: str
    x: int
    y: int
    width: int
    height: int
    properties: Mapping[str, Any]

    @property
    def lines(self) -> list[Line]:
        """The lines of a graph."""
        return [_line(row) for row in self.properties.get("metrics", [])]


def dashboards(template: Mapping[str, Any]) -> dict[str, list[Widget]]:
    """Every dashboard's widgets, by its name without the group's. Raises `NotUnderstood`."""
    resources = template["Resources"]
    found = {}
    for resource in resources.values():
        if resource["Type"] == "AWS::CloudWatch::Dashboard":
            body = json.loads(resolved(resource["Properties"]["DashboardBody"], resources))
            name = resolved(resource["Properties"]["DashboardName"], resources)
            found[name.rpartition("-")[2]] = [
                Widget(w["type"], w["x"], w["y"], w["width"], w["height"], w["properties"]) for w in body["widgets"]
            ]
    return found


def resolved(value: Any, resources: Mapping[str, Any]) -> str:
    """The text, with a word in place of what only a deployment knows: an alarm's name, else the resource's own."""
    match value:
        case str():
            return value
        case {"Fn::Join": [separator, parts]}:
            return str(separator).join(resolved(part, resources) for part in parts)
        case {"Fn::GetAtt": [name, "Arn"]}:
            return str(resources[name]["Properties"].get("AlarmName", name))
        case {"Fn::GetAtt": [name, _]} | {"Ref": name} | {"Fn::GetStackOutput": {"OutputName": name}}:
            return str(name)
    raise NotUnderstood(f"got {value!r}; takes text, Fn::Join, Fn::GetAtt, Ref and Fn::GetStackOutput")


def search(expression: str) -> Query | None:
    """The query of a SEARCH, none if it is not one."""
    found = _SEARCH.fullmatch(expression)
    if not found:
        return None
    terms = dict(_TERM.findall(found["terms"]))
    namespace, *keys = found["keys"].split(",")
    name = terms.pop("MetricName")
    return Query(namespace, name, {key: terms.get(key, "*") for key in keys}, found["statistic"], int(found["period"]))


def _line(row: list[Any]) -> Line:
    *names, options = row if isinstance(row[-1], dict) else [*row, {}]
    source: Query | str
    if "expression" in options:
        source = options["expression"]
        label = options.get("label", source)
    else:
        namespace, name, *dimensions = names
        pairs = dict(_pairs(dimensions))
        source = Query(namespace, name, pairs, options.get("stat", "Average"), options.get("period", 300))
        label = options.get("label", name)
    return Line(
        options.get("id", ""), label, source, options.get("visible", True), options.get("yAxis", "left") == "right"
    )


def _pairs(names: list[str]) -> Iterator[tuple[str, str]]:
    return zip(names[::2], names[1::2], strict=True)
