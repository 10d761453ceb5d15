"""How long the boots of a test run took, stage by stage, for the table at its end."""

from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from tests.bench.markdown import table as markdown_table
from tests.support.boot.machine import Machine

_REPORT = "/var/lib/prometheus/node-exporter/voicefleet-boot.prom"


@dataclass(frozen=True)
class Timeline:
    """One boot: seconds of the machine's own clock, by stage; and of the host's, until it was ready."""

    name: str
    stages: dict[str, float]
    ready: float
    host: float


TIMELINES: list[Timeline] = []
"""The boots of this run, in their order."""


def record(name: str, machine: Machine, host_seconds: float) -> Timeline:
    """Take down what the machine's own boot report says."""
    stages: dict[str, float] = {}
    ready = 0.0
    for family in text_string_to_metric_families(machine.run(f"cat {_REPORT}")):
        for sample in family.samples:
            if "stage" in sample.labels:
                stages[sample.labels["stage"]] = sample.value
            else:
                ready = sample.value
    TIMELINES.append(Timeline(name, stages, ready, host_seconds))
    return TIMELINES[-1]


def table() -> str:
    """The boots as a Markdown table."""
    stages = list(TIMELINES[0].stages)
    rows = [
        [boot.name, *(f"{boot.stages[stage]:.1f}" for stage in stages), f"{boot.ready:.1f}", f"{boot.host:.0f}"]
        for boot in TIMELINES
    ]
    return markdown_table(["boot", *stages, "ready", "ready, host's clock"], rows)
