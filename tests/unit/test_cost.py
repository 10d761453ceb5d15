"""The cost of a fleet that nobody calls."""

import copy
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from infra.cost import CALL_HOUR_GB, HOURS, monthly, traffic
from tests.support.fleet_template import REPOSITORY, fleet_template

DEPLOY = (REPOSITORY / "docs" / "deploy.md").read_text(encoding="utf-8")


def test_every_resource_that_costs_by_the_hour_is_counted() -> None:
    items = {item.name: item for item in monthly(fleet_template("prod"), hourly_price=2.0)}

    assert items["nodes"].dollars == 2 * 2.0 * HOURS
    assert items["root volumes, GiB"].count == 2 * 40
    assert items["NAT gateways"].count == 3
    assert items["interface endpoints, in each zone"].count == 7 * 3
    assert items["dashboards"].count == 6
    assert items["load balancer"].dollars == pytest.approx(16.43, abs=0.01)
    assert items["public addresses of the load balancer"].count == 0


def test_a_load_balancer_on_the_internet_has_an_address_in_each_zone() -> None:
    template = copy.deepcopy(fleet_template("prod"))
    (balancer,) = [one for one in template["Resources"].values() if one["Type"].endswith("::LoadBalancer")]
    balancer["Properties"]["Scheme"] = "internet-facing"
    items = {item.name: item for item in monthly(template, hourly_price=2.0)}
    assert items["public addresses of the load balancer"].dollars == pytest.approx(3 * 3.65)


def test_calls_cost_their_way_through_the_load_balancer_and_between_zones() -> None:
    through, between = traffic(fleet_template("prod"), calls=32, call_hour_gb=CALL_HOUR_GB)
    assert through.count == pytest.approx(32 * 0.34 * HOURS)
    assert between.count == pytest.approx(through.count * 2 / 3), "two of three callers come in at another zone"
    an_hour = (through.dollars + between.dollars) / HOURS
    assert an_hour == pytest.approx(0.21, abs=0.005), "of a full node, which costs $1.006"


def test_a_small_environment_does_without_endpoints_and_second_nodes() -> None:
    items = {item.name: item for item in monthly(fleet_template("dev"), hourly_price=1.0)}

    assert items["nodes"].count == items["NAT gateways"].count == 1
    assert items["interface endpoints, in each zone"].count == 0
    prod = {item.name: item for item in monthly(fleet_template("prod"), hourly_price=1.0)}
    assert items["metrics of nodes"].count < prod["metrics of nodes"].count, "a second node has metrics of its own"


@pytest.mark.parametrize(("environment", "column"), [("dev", 0), ("prod", 1)])
def test_the_documented_command_prints_the_documented_sum(
    environment: str, column: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the dollar; and without credentials, which whoever first asks for the price may not have yet."""
    from infra.app import make_app  # which starts a Node, that of `fleet_template`

    monkeypatch.delenv("CDK_DEFAULT_ACCOUNT")
    context = json.loads((REPOSITORY / "cdk.json").read_text(encoding="utf-8"))["context"]
    for stack in make_app({**context, "env": environment}).synth().stacks:
        (tmp_path / f"{stack.stack_name}.template.json").write_text(json.dumps(stack.template), "utf-8")
    (options,) = re.findall(r"^python -m infra\.cost cdk\.out/\S+ (.*)$", DEPLOY, re.MULTILINE)

    command = [sys.executable, "-m", "infra.cost", *tmp_path.iterdir(), *options.split()]
    printed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60).stdout

    (together,) = re.findall(r"together .* ([\d,.]+)", printed)
    documented = re.findall(r"\*\*\$([\d,]+)\*\*", DEPLOY)[column]
    assert dollars(together) == pytest.approx(dollars(documented), abs=1)


def dollars(text: str) -> float:
    return float(text.replace(",", ""))
