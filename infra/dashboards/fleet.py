"""The first page at 3 a.m.: are callers hurt, since when, what changed."""

import cdk_monitoring_constructs as monitoring
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_cloudwatch as cw
from constructs import Construct

from infra.dashboards.board import WHOLE, Board, Rows
from infra.metrics import BalancerMetrics, Host, exported_name
from server.observability import metrics

_ENDS = [
    sample.labels["reason"]
    for family in metrics.calls_ended.collect()  # each reason is there from the start
    for sample in family.samples
    if sample.name == exported_name(metrics.calls_ended)
]


def rows(board: Board, scope: Construct, balancer: BalancerMetrics) -> Rows:
    """The rows of the page."""
    fleet, alarms = board.fleet, board.alarms
    calls = fleet.of(metrics.sessions_active, "Sum", label="live calls")
    return [
        [
            board.text(
                f"{fleet.group}: are callers hurt, since when, what changed?",
                "The row below answers it: red alarms on the left, what callers feel in the middle, "
                "what changed in the fleet on the right. Then the load, then the load balancer and the group.",
                *alarms.composites,
                "deploy-stuck",
                "roll-back",
            )
        ],
        [
            board.status("Callers hurt? The fleet stuck? A GPU failing?", list(alarms.composites.values()), width=6),
            board.graph(
                "What callers feel: voice to voice",
                fleet.of(metrics.voice_to_voice_seconds, "p50", label="p50"),
                fleet.of(metrics.voice_to_voice_seconds, "p95", label="p95"),
                right=[calls],
                alarms=["answers-slow"],
                unit="seconds",
                right_unit="calls",
                width=9,
            ),
            board.graph(
                "What changed: nodes that come, go or restart",
                fleet.in_service(),
                fleet.aws("AWS/AutoScaling", "GroupPendingInstances", "Average", label="joining"),
                fleet.aws("AWS/AutoScaling", "GroupTerminatingInstances", "Average", label="leaving"),
                right=[
                    fleet.of(Host.SERVICE_RESTARTS, "Sum", label="restarts of units"),
                    fleet.of(metrics.reported_unhealthy, "Sum", label="nodes given up"),
                ],
                unit="nodes",
                right_unit="events",
                width=9,
            ),
        ],
        [
            board.graph(
                "Load, and what the fleet scales on",
                fleet.of(metrics.sessions_utilization, "Average", label="average"),
                fleet.of(metrics.sessions_utilization, "Maximum", label="fullest node"),
                alarms=["utilization-high"],
                unit="share of sessions",
            ),
            board.graph(
                "Calls and places for them",
                calls,
                fleet.of(metrics.sessions_capacity, "Sum", label="places"),
                right=[
                    fleet.of(metrics.sessions_total, "Sum", label="new calls"),
                    fleet.of(metrics.calls_told_to_move, "Sum", label="told to move"),
                    fleet.of(metrics.calls_resumed, "Sum", label="resumed"),
                ],
                unit="calls",
                right_unit="a minute",
            ),
            board.graph(
                "Calls turned away, and calls that ask for too much",
                fleet.of(metrics.handshakes_refused, "Sum", label="full", reason="full"),
                fleet.of(metrics.handshakes_refused, "Sum", label="draining", reason="draining"),
                fleet.of(metrics.drain_cut_calls, "Sum", label="cut by a drain"),
                fleet.of(metrics.tickets_refused, "Sum", label="tickets refused"),
                right=[fleet.of(metrics.limits_met, "Sum", label="limits met by calls")],
                alarms=["calls-refused"],
                unit="a minute",
                right_unit="a minute",
            ),
        ],
        [
            board.graph(
                "Speech that failed",
                _named(alarms.metric("stt-errors"), "STT"),
                _named(alarms.metric("tts-errors"), "TTS"),
                alarms=["stt-errors"],
                unit="% of answers",
            ),
            board.alarm_graph("Language model that failed", "llm-errors", unit="% of answers"),
            board.alarm_graph("Gaps in answers", "audio-gaps", unit="% of answers"),
        ],
        [
            board.alarm_graph("Clauses that came late", "clauses-late", unit="% of answers"),
            board.graph(
                "Speech refused by full workers",
                fleet.of(metrics.queue_refused, "Sum", label="TTS", queue="tts"),
                fleet.of(metrics.queue_refused, "Sum", label="STT", queue="stt"),
                unit="a minute",
            ),
            board.graph(
                "How much agents talk: the more, the fewer calls a node takes",
                fleet.of(metrics.agent_talk_ratio, "Average", label="average"),
                fleet.of(metrics.agent_talk_ratio, "Maximum", label="node with the most"),
                unit="share of a call",
            ),
        ],
        [
            board.alarm_graph("Lines in place of answers", "spoken-lines", unit="% of answers"),
            board.alarm_graph("Answers of another language model", "llm-failovers", unit="% of answers"),
            board.graph(
                "Calls that nodes ended, and log lines that were lost",
                *(fleet.of(metrics.calls_ended, "Sum", label=reason, reason=reason) for reason in _ENDS),
                right=[fleet.of(metrics.log_lines_dropped, "Sum", label="log lines lost")],
                unit="a minute",
                right_unit="a minute",
            ),
        ],
        [board.status("All alarms", list(alarms.alarms.values()), width=WHOLE, height=4)],
        _load_balancer(board, balancer),
        *_group(board, scope),
    ]


def _named(metric: cw.IMetric, label: str) -> cw.IMetric:
    assert isinstance(metric, cw.MathExpression)
    return metric.with_(label=label)


def _load_balancer(board: Board, balancer: BalancerMetrics) -> list[cw.IWidget]:
    return [
        board.graph(
            "Load balancer: connections",
            balancer.flows("ActiveFlowCount", "Average", "at once"),
            right=[balancer.flows("NewFlowCount", "Sum", "new")],
            unit="connections",
            right_unit="a minute",
            width=6,
        ),
        board.graph(
            "Load balancer: targets",
            balancer.targets("HealthyHostCount", "Maximum", "healthy"),
            balancer.targets("UnHealthyHostCount", "Maximum", "broken or draining"),
            alarms=["no-healthy-target"],
            unit="nodes, of the fullest zone",
            width=6,
        ),
        board.graph(
            "Load balancer: resets",
            balancer.flows("TCP_Client_Reset_Count", "Sum", "by callers"),
            balancer.flows("TCP_Target_Reset_Count", "Sum", "by nodes"),
            balancer.flows("TCP_ELB_Reset_Count", "Sum", "by itself"),
            right=[balancer.flows("UnhealthyRoutingFlowCount", "Sum", "sent to unhealthy nodes")],
            unit="a minute",
            right_unit="a minute",
            width=6,
        ),
        board.graph(
            "Load balancer: traffic",
            balancer.flows("ProcessedBytes", "Sum", "both ways"),
            unit="bytes a minute",
            width=6,
        ),
    ]


def _group(board: Board, scope: Construct) -> Rows:
    """The Auto Scaling group, as the library shows it: a heading and a row of graphs."""
    facade = monitoring.MonitoringFacade(
        scope,
        "Services",
        dashboard_factory=monitoring.DefaultDashboardFactory(
            scope, "ServicesFactory", dashboard_name_prefix=board.fleet.group, create_dashboard=False
        ),
    )
    facade.monitor_auto_scaling_group(
        # by name: alarms and dashboards know the group's name only, or they would depend on what depends on them
        auto_scaling_group=autoscaling.AutoScalingGroup.from_auto_scaling_group_name(scope, "Group", board.fleet.group),
        human_readable_name=board.fleet.group,
        alarm_friendly_name=board.fleet.group,
    )
    widgets = [monitored.widgets() for monitored in facade.created_monitorings()]
    return [row for heading, *graphs in widgets for row in ([heading], graphs)]
