"""What all dashboards share: the text on top, and graphs that draw the thresholds of alarms."""

from collections.abc import Sequence
from dataclasses import dataclass

from aws_cdk import aws_cloudwatch as cw

from infra.alarms import Alarms
from infra.metrics import FleetMetrics

Rows = list[list[cw.IWidget]]

WHOLE = 24  # columns of a dashboard
_HEIGHT = 6


@dataclass(frozen=True, slots=True)
class Board:
    """The metrics and alarms that dashboards are made of."""

    fleet: FleetMetrics
    alarms: Alarms

    def text(self, title: str, answers: str, *sections: str, height: int = 3) -> cw.TextWidget:
        """The words on top: what the page answers, and the sections of the runbook that belong to it."""
        runbook = self.alarms.runbook
        links = " · ".join(f"[{section}]({runbook}#{section})" for section in sections)
        return cw.TextWidget(markdown=f"## {title}\n{answers}\n\nRunbook: {links}", width=WHOLE, height=height)

    def graph(
        self,
        title: str,
        *lines: cw.IMetric,
        right: Sequence[cw.IMetric] = (),
        alarms: Sequence[str] = (),
        unit: str = "",
        right_unit: str = "",
        width: int = 8,
        height: int = _HEIGHT,
        stacked: bool = False,
    ) -> cw.GraphWidget:
        """Lines over time from zero up, with the thresholds of these alarms."""
        return cw.GraphWidget(
            title=title,
            left=list(lines),
            right=list(right),
            left_annotations=[self.alarms.line(name) for name in alarms],
            left_y_axis=cw.YAxisProps(min=0, label=unit, show_units=False),
            right_y_axis=cw.YAxisProps(min=0, label=right_unit, show_units=False) if right else None,
            width=width,
            height=height,
            stacked=stacked,
            live_data=True,
        )

    def alarm_graph(self, title: str, name: str, *, unit: str = "", width: int = 8) -> cw.GraphWidget:
        """What an alarm watches, with its threshold."""
        return self.graph(title, self.alarms.metric(name), alarms=[name], unit=unit, width=width)

    def status(
        self, title: str, alarms: Sequence[cw.IAlarm], *, width: int, height: int = _HEIGHT
    ) -> cw.AlarmStatusWidget:
        """Which of these alarms are red, the newest change first."""
        return cw.AlarmStatusWidget(
            title=title,
            alarms=list(alarms),
            width=width,
            height=height,
            sort_by=cw.AlarmStatusWidgetSortBy.STATE_UPDATED_TIMESTAMP,
        )
