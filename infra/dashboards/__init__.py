"""The dashboards of a fleet, one module each; every one begins with what it answers.

A dashboard's name is the account's in all regions, so it carries the region.
"""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cw
from constructs import Construct

from infra.alarms import Alarms
from infra.dashboards import bedrock, cost, fleet, gpu, latency, nodes
from infra.dashboards.board import Board
from infra.metrics import BalancerMetrics, FleetMetrics


class Dashboards(Construct):
    """Six dashboards, named GROUP-REGION-BOARD: fleet, latency, gpu, nodes, cost and bedrock."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        group_name: str,
        balancer: BalancerMetrics,
        alarms: Alarms,
        hourly_price: float,
        language_models: Sequence[str],
        bedrock_models: Sequence[str],
    ) -> None:
        """`language_models` are all of VOICE_LLM, `bedrock_models` those that Bedrock counts in this region."""
        super().__init__(scope, construct_id)
        board = Board(FleetMetrics(group_name), alarms)
        boards = {
            "fleet": fleet.rows(board, self, balancer),
            "latency": latency.rows(board),
            "gpu": gpu.rows(board),
            "nodes": nodes.rows(board),
            "cost": cost.rows(board, hourly_price),
            "bedrock": bedrock.rows(board, language_models, bedrock_models),
        }
        for name, rows in boards.items():
            cw.Dashboard(
                self,
                name.capitalize(),
                dashboard_name=f"{group_name}-{cdk.Stack.of(self).region}-{name}",
                default_interval=cdk.Duration.hours(3),
                widgets=rows,
            )
