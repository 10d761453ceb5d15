"""What a fleet costs a month before anybody calls: `python -m infra.cost cdk.out/NAME.template.json`.

List prices of us-east-1, in US dollars (August 2026). What callers cause is left out: Bedrock's tokens, traffic, log
lines, the load balancer's capacity units; and so is whatever a free tier gives.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from infra.preview.named import named_metrics
from server.fleet.cloudwatch import NAMESPACE, PERIOD_SECONDS

HOURS = 730  # in a month
_BALANCER = 0.0225 * HOURS
_NAT_GATEWAY = 0.045 * HOURS
_ADDRESS = 0.005 * HOURS
_ENDPOINT = 0.01 * HOURS  # in each of its zones
_GIB = 0.08  # gp3
_SECRET = 0.40
_DASHBOARD = 3.00
_ALARM = 0.10  # for each metric that it watches
_COMPOSITE = 0.50
_METRIC = 0.30
_DETAILED_METRICS = 7  # of an instance
_REQUEST = 0.01 / 1000  # PutMetricData


@dataclass(frozen=True, slots=True)
class Item:
    """So many of something, at dollars a month each."""

    name: str
    count: float
    each: float

    @property
    def dollars(self) -> float:
        """A month."""
        return self.count * self.each


def monthly(template: Mapping[str, Any], hourly_price: float) -> list[Item]:
    """What a synthesised template costs at its smallest, whose nodes cost `hourly_price` dollars an hour each."""
    (group,) = _of_type(template, "AutoScaling::AutoScalingGroup")
    (launch,) = _of_type(template, "EC2::LaunchTemplate")
    nodes = int(group["MinSize"])
    gib = sum(disk["Ebs"]["VolumeSize"] for disk in launch["LaunchTemplateData"]["BlockDeviceMappings"])
    endpoints = [e for e in _of_type(template, "EC2::VPCEndpoint") if e["VpcEndpointType"] == "Interface"]
    alarms = _of_type(template, "CloudWatch::Alarm")
    watched = [max(1, len([m for m in alarm.get("Metrics", []) if "MetricStat" in m])) for alarm in alarms]
    own = {(one.name, one.dimensions) for one in named_metrics(template) if one.namespace == NAMESPACE}
    of_each_node = [one for one in own if ("InstanceId", "*") in one[1]]
    return [
        Item("nodes", nodes, hourly_price * HOURS),
        Item("root volumes, GiB", nodes * gib, _GIB),
        Item("load balancer", len(_of_type(template, "ElasticLoadBalancingV2::LoadBalancer")), _BALANCER),
        Item("NAT gateways", len(_of_type(template, "EC2::NatGateway")), _NAT_GATEWAY + _ADDRESS),
        Item("interface endpoints, in each zone", sum(len(e["SubnetIds"]) for e in endpoints), _ENDPOINT),
        Item("detailed monitoring of EC2", nodes, _DETAILED_METRICS * _METRIC),
        Item("metrics of nodes", len(own) - len(of_each_node) + nodes * len(of_each_node), _METRIC),
        Item("requests to put them", nodes * HOURS * 3600 / PERIOD_SECONDS, _REQUEST),
        Item("metrics watched by alarms", sum(watched), _ALARM),
        Item("composite alarms", len(_of_type(template, "CloudWatch::CompositeAlarm")), _COMPOSITE),
        Item("dashboards", len(_of_type(template, "CloudWatch::Dashboard")), _DASHBOARD),
        Item("secret", len(_of_type(template, "SecretsManager::Secret")), _SECRET),
    ]


def _of_type(template: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    return [resource["Properties"] for resource in template["Resources"].values() if resource["Type"] == f"AWS::{kind}"]


def show(
    template: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="What `cdk synth` made: cdk.out/NAME.template.json.")
    ],
    hourly_price: Annotated[float, typer.Option(min=0, help="Dollars an hour of a node; g5.xlarge on demand.")] = 1.006,
) -> None:
    """Print what the smallest fleet of a template costs a month, before anybody calls."""
    items = monthly(json.loads(template.read_text(encoding="utf-8")), hourly_price)
    table = Table("a month", "count", "US dollars")
    table.columns[1].justify = table.columns[2].justify = "right"
    for item in items:
        table.add_row(item.name, f"{item.count:,.0f}", f"{item.dollars:,.2f}")
    table.add_section()
    table.add_row("together", "", f"{sum(item.dollars for item in items):,.2f}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(show)
