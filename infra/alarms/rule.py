"""A line of the table of alarms, and the arithmetic that several lines share."""

from dataclasses import dataclass
from typing import Literal

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cw
from prometheus_client import Counter

from infra.metrics import FleetMetrics, exported_name
from server.observability import metrics

Composite = Literal["callers-hurt", "capacity", "gpu-failing"]

WINDOW = 5  # minutes, for whatever is a share or a count of nodes
HALF_A_NODE = 0.5  # the samples of a node fall a little unevenly into windows


@dataclass(frozen=True, slots=True)
class Rule:
    """An alarm: red when `metric` was at or beyond `threshold` (`below`: under it) in `times` of the last `of` periods.

    `action` says in a line what to do. `section` of the runbook has the alarm's name unless it is shared. With a
    `composite` only that notifies. One that `stops_rollout` makes an instance refresh roll back.
    """

    name: str
    action: str
    metric: cw.IMetric
    threshold: float
    times: int = 1
    of: int = 1
    below: bool = False
    red_when_missing: bool = False
    composite: Composite | None = None
    section: str = ""
    stops_rollout: bool = False


@dataclass(frozen=True, slots=True)
class ShareOfAnswers:
    """Errors per hundred of answers and errors; 0 as long as there are fewer than `least`."""

    fleet: FleetMetrics
    least: int

    def of(self, errors: Counter, **labels: str) -> cw.MathExpression:
        """The share of these errors, in per cent."""
        name = "_".join([exported_name(errors), *labels.values()])  # unique in a graph that shows several
        return cw.MathExpression(
            expression=f"IF({name} >= {self.least}, 100 * {name} / ({name} + FILL(answers, 0)), 0)",
            using_metrics={
                name: self.fleet.of(errors, "Sum", minutes=WINDOW, **labels),
                "answers": self.fleet.of(metrics.turns, "Sum", minutes=WINDOW),
            },
            period=Duration.minutes(WINDOW),
            label="% of answers",
        )


def without(what: str, nodes: cw.IMetric, reporting: cw.IMetric) -> cw.MathExpression:
    """How many of the nodes do not report; `what` is a word for that."""
    return cw.MathExpression(
        expression=f"nodes_{what} - FILL(with_{what}, 0)",
        using_metrics={f"nodes_{what}": nodes, f"with_{what}": reporting},
        period=Duration.minutes(WINDOW),
        label=f"without {what}",
    )
