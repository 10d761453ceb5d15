"""The cost of a fleet that nobody calls."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from infra.cost import HOURS, monthly
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
    template = tmp_path / "fleet.template.json"
    template.write_text(json.dumps(make_app({**context, "env": environment}).synth().stacks[0].template), "utf-8")
    (options,) = re.findall(r"^python -m infra\.cost cdk\.out/\S+ (.*)$", DEPLOY, re.MULTILINE)

    command = [sys.executable, "-m", "infra.cost", template, *options.split()]
    printed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60).stdout

    (together,) = re.findall(r"together .* ([\d,.]+)", printed)
    documented = re.findall(r"\*\*\$([\d,]+)\*\*", DEPLOY)[column]
    assert dollars(together) == pytest.approx(dollars(documented), abs=1)


def dollars(text: str) -> float:
    return float(text.replace(",", ""))
