"""Alarms of the service: what callers notice, what they will notice next, and the language model's provider."""

from collections.abc import Sequence

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cw
from aws_cdk import aws_events as events

from infra.alarms.config import AlarmConfig
from infra.alarms.rule import HALF_A_NODE, WINDOW, Rule, ShareOfAnswers, without
from infra.metrics import BalancerMetrics, FleetMetrics, bedrock
from server.fleet.cloudwatch import PERIOD_SECONDS as PUBLISH_SECONDS
from server.observability import metrics


def callers_rules(config: AlarmConfig, fleet: FleetMetrics, balancer: BalancerMetrics) -> list[Rule]:
    """What callers notice."""
    share = ShareOfAnswers(fleet, config.least_errors)
    return [
        Rule(
            "no-healthy-target",
            "No node takes calls: see whether all are full, draining or broken.",
            balancer.targets("HealthyHostCount", "Maximum", "healthy"),
            1,
            times=3,
            of=3,
            below=True,
            red_when_missing=True,
            composite="callers-hurt",
            stops_rollout=True,
        ),
        Rule(
            "answers-slow",
            "Find the stage that grew on the latency board.",
            fleet.of(metrics.voice_to_voice_seconds, "p95", minutes=WINDOW),
            config.voice_to_voice_p95_seconds,
            times=2,
            of=3,
            composite="callers-hurt",
            stops_rollout=True,
        ),
        Rule(
            "calls-refused",
            "Callers are turned away by full nodes: add nodes by hand.",
            fleet.of(metrics.handshakes_refused, "Sum", reason="full"),
            config.refused_calls_per_minute,
            times=3,
            of=5,
            composite="callers-hurt",
        ),
        Rule(
            "audio-gaps",
            "Answers have gaps: see whether the GPUs or the network are behind.",
            share.of(metrics.audio_underruns),
            config.underruns_percent,
            times=2,
            of=3,
            composite="callers-hurt",
            stops_rollout=True,
        ),
        Rule(
            "stt-errors",
            "Callers are not understood: see the STT worker's journal.",
            share.of(metrics.speech_errors, part="stt"),
            config.speech_errors_percent,
            times=2,
            of=3,
            composite="callers-hurt",
            section="speech-errors",
            stops_rollout=True,
        ),
        Rule(
            "tts-errors",
            "Answers stay silent: see the TTS worker's journal.",
            share.of(metrics.speech_errors, part="tts"),
            config.speech_errors_percent,
            times=2,
            of=3,
            composite="callers-hurt",
            section="speech-errors",
            stops_rollout=True,
        ),
        Rule(
            "llm-errors",
            "The language model fails: see which failure, then Bedrock's state.",
            share.of(metrics.llm_errors),
            config.llm_errors_percent,
            times=2,
            of=3,
            composite="callers-hurt",
            stops_rollout=True,
        ),
        Rule(
            "spoken-lines",
            "Callers hear an excuse in place of an answer: see which, then what failed behind it.",
            share.of(metrics.spoken_lines),
            config.spoken_lines_percent,
            composite="callers-hurt",
            stops_rollout=True,
        ),
        Rule(
            "calls-cut",
            "A drain ran into its limit and ended live calls: look at drain_seconds.",
            fleet.of(metrics.drain_cut_calls, "Sum", minutes=WINDOW),
            1,
            composite="callers-hurt",
        ),
    ]


def capacity_rules(config: AlarmConfig, fleet: FleetMetrics, launch_failures: events.Rule) -> list[Rule]:
    """What will hurt callers soon: a fleet that can't grow, or does not see that it should."""
    published = fleet.nodes_with(metrics.sessions_utilization, PUBLISH_SECONDS, minutes=WINDOW)
    share = ShareOfAnswers(fleet, config.least_errors)
    return [
        Rule(
            "utilization-high",
            "Scaling lags behind: see why no node joins, raise the floor.",
            fleet.of(metrics.sessions_utilization, "Average"),
            config.utilization,
            times=5,
            of=5,
            composite="capacity",
        ),
        Rule(
            "clauses-late",
            "Nodes have more calls than their voice keeps up with: add nodes, then see which part is slow.",
            share.of(metrics.late_clauses),
            config.late_clauses_percent,
            times=2,
            of=3,
            composite="capacity",
        ),
        Rule(
            "scaling-metric-missing",
            "The fleet is blind and will not grow: raise the floor, then find why nodes don't publish.",
            fleet.of(metrics.sessions_utilization, "SampleCount"),
            1,
            times=3,
            of=3,
            below=True,
            red_when_missing=True,
            composite="capacity",
        ),
        Rule(
            "node-not-publishing",
            "A node in service does not publish its load: see its journal.",
            without("utilization", fleet.in_service(WINDOW), published),
            HALF_A_NODE,
            times=3,
            of=3,
            red_when_missing=True,
            composite="capacity",
            section="scaling-metric-missing",
        ),
        Rule(
            "nodes-pending",
            "A node does not join: see its boot, and whether the launch hook timed out.",
            fleet.aws("AWS/AutoScaling", "GroupPendingInstances", "Minimum"),
            1,
            times=config.pending_minutes,
            of=config.pending_minutes,
            composite="capacity",
        ),
        Rule(
            "nodes-retained",
            "A node that drained fell silent and was kept: end its calls, then the node, which costs money.",
            fleet.aws("AWS/AutoScaling", "GroupTerminatingRetainedInstances", "Maximum"),
            1,
            times=3,
            of=3,
        ),
        Rule(
            "launch-failures",
            "EC2 could not launch a node, or the node did not join in time: see the group's activities.",
            cw.Metric(
                namespace="AWS/Events",
                metric_name="TriggeredRules",
                statistic="Sum",
                period=Duration.minutes(WINDOW),
                dimensions_map={"RuleName": launch_failures.rule_name},
            ),
            1,
            composite="capacity",
            section="no-g5-capacity",
        ),
    ]


def llm_rules(config: AlarmConfig, fleet: FleetMetrics, models: Sequence[str]) -> list[Rule]:
    """Stand-ins, and throttling: as the nodes see it and as Bedrock counts it (of everyone in the account)."""
    return [
        Rule(
            "llm-failovers",
            "Another language model answers than was chosen: see why, and whether it is slower or dearer.",
            ShareOfAnswers(fleet, config.least_errors).of(metrics.llm_failovers),
            config.llm_failovers_percent,
            times=2,
            of=3,
        ),
        Rule(
            "llm-throttled",
            "Nodes are refused by Bedrock after their retries: ask for a higher quota, or change the model.",
            fleet.of(metrics.llm_errors, "Sum", failure="throttled"),
            config.throttles_per_minute,
            times=3,
            of=5,
            section="bedrock-throttles",
        ),
        *(
            Rule(
                "bedrock-throttles" if len(models) == 1 else f"bedrock-throttles-{number}",
                f"Bedrock throttles {model} in this account: see who else uses it.",
                bedrock(model, "InvocationThrottles", "Sum"),
                config.throttles_per_minute,
                times=3,
                of=5,
                section="bedrock-throttles",
            )
            for number, model in enumerate(models, 1)
        ),
    ]
