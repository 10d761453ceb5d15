"""What a fleet costs a month, idle and with calls: `python -m infra.cost cdk.out/voicefleet-dev-us-east-1-*.json`.

List prices of us-east-1, in US dollars (August 2026). Left out are Bedrock's tokens, the nodes' log lines, and whatever
a free tier gives.
"""

import json
from collections.abc import Iterable, Mapping
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
_LOG_GB = 0.50  # taken in by CloudWatch Logs
_EMF_BYTES = 400  # of a metric in the agent's log lines, once a minute; reckoned, not measured
_BALANCER_GB = 0.006  # a capacity unit takes one an hour
_BETWEEN_ZONES_GB = 0.02  # out of one zone and into the other
CALL_HOUR_GB = 0.34  # base64 at 24 kHz in JSON: the caller always, the answers half of the time


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


def joined(templates: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The resources and parameters of several stacks of an app as one template: their names are unique."""
    whole: dict[str, Any] = {"Resources": {}, "Parameters": {}}
    for template in templates:
        for section, entries in whole.items():
            entries.update(template.get(section, {}))
    return whole


def monthly(template: Mapping[str, Any], hourly_price: float) -> list[Item]:
    """What a synthesised fleet costs at its smallest, whose nodes cost `hourly_price` dollars an hour each."""
    (group,) = _of_type(template, "AutoScaling::AutoScalingGroup")
    (launch,) = _of_type(template, "EC2::LaunchTemplate")
    nodes = int(group["MinSize"])
    gib = sum(disk["Ebs"]["VolumeSize"] for disk in launch["LaunchTemplateData"]["BlockDeviceMappings"])
    endpoints = [e for e in _of_type(template, "EC2::VPCEndpoint") if e["VpcEndpointType"] == "Interface"]
    balancers = _of_type(template, "ElasticLoadBalancingV2::LoadBalancer")
    addresses = [subnet for one in balancers if one["Scheme"] == "internet-facing" for subnet in one["Subnets"]]
    alarms = _of_type(template, "CloudWatch::Alarm")
    watched = [max(1, len([m for m in alarm.get("Metrics", []) if "MetricStat" in m])) for alarm in alarms]
    own = {(one.name, one.dimensions) for one in named_metrics(template) if one.namespace == NAMESPACE}
    of_each_node = [one for one in own if ("InstanceId", "*") in one[1]]
    return [
        Item("nodes", nodes, hourly_price * HOURS),
        Item("root volumes, GiB", nodes * gib, _GIB),
        Item("load balancer", len(balancers), _BALANCER),
        Item("public addresses of the load balancer", len(addresses), _ADDRESS),
        Item("NAT gateways", len(_of_type(template, "EC2::NatGateway")), _NAT_GATEWAY + _ADDRESS),
        Item("interface endpoints, in each zone", sum(len(e["SubnetIds"]) for e in endpoints), _ENDPOINT),
        Item("detailed monitoring of EC2", nodes, _DETAILED_METRICS * _METRIC),
        Item("metrics of nodes", len(own) - len(of_each_node) + nodes * len(of_each_node), _METRIC),
        Item("log lines that carry them, GB", nodes * len(own) * HOURS * 60 * _EMF_BYTES / 1e9, _LOG_GB),
        Item("requests to put them", nodes * HOURS * 3600 / PERIOD_SECONDS, _REQUEST),
        Item("metrics watched by alarms", sum(watched), _ALARM),
        Item("composite alarms", len(_of_type(template, "CloudWatch::CompositeAlarm")), _COMPOSITE),
        Item("dashboards", len(_of_type(template, "CloudWatch::Dashboard")), _DASHBOARD),
        Item("secret", len(_of_type(template, "SecretsManager::Secret")), _SECRET),
    ]


def traffic(template: Mapping[str, Any], calls: float, call_hour_gb: float) -> list[Item]:
    """What `calls` at once, day and night, cost on their way through the load balancer of a synthesised fleet."""
    (group,) = _of_type(template, "AutoScaling::AutoScalingGroup")
    zones = len(group["VPCZoneIdentifier"])
    gigabytes = calls * call_hour_gb * HOURS
    return [
        Item("traffic through the load balancer, GB", gigabytes, _BALANCER_GB),
        Item("traffic between zones, GB", gigabytes * (zones - 1) / zones, _BETWEEN_ZONES_GB),
    ]


def _of_type(template: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    return [resource["Properties"] for resource in template["Resources"].values() if resource["Type"] == f"AWS::{kind}"]


def show(
    templates: Annotated[
        list[Path],
        typer.Argument(exists=True, dir_okay=False, help="What `cdk synth` made of a region: cdk.out/*.template.json."),
    ],
    hourly_price: Annotated[float, typer.Option(min=0, help="Dollars an hour of a node; g5.xlarge on demand.")] = 1.006,
    calls: Annotated[float, typer.Option(min=0, help="Calls at once, on average over the month.")] = 0.0,
    call_hour_gb: Annotated[float, typer.Option(min=0, help="GB of an hour of a call, both ways.")] = CALL_HOUR_GB,
) -> None:
    """Print what the smallest fleet of these templates costs a month, and the traffic of so many calls."""
    template = joined(json.loads(path.read_text(encoding="utf-8")) for path in templates)
    items = [*monthly(template, hourly_price), *traffic(template, calls, call_hour_gb)]
    table = Table("a month", "count", "US dollars")
    table.columns[1].justify = table.columns[2].justify = "right"
    for item in items:
        table.add_row(item.name, f"{item.count:,.0f}", f"{item.dollars:,.2f}")
    table.add_section()
    table.add_row("together", "", f"{sum(item.dollars for item in items):,.2f}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(show)
