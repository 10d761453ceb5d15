"""The cost of a fleet that nobody calls."""

import pytest

from infra.cost import HOURS, monthly
from tests.support.fleet_template import fleet_template


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
