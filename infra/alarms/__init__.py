"""What wakes an operator: the table of alarms, and three composites that notify once for many symptoms.

An alarm that belongs to a composite does not notify by itself; every other one does. Each names the section of the
runbook that says what to do. Thresholds come from the configuration only.
"""

from collections.abc import Sequence

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cw
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_events as events
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from constructs import Construct

from infra.alarms.config import AlarmConfig
from infra.alarms.machine import gpu_rules, node_rules
from infra.alarms.rule import Composite, Rule
from infra.alarms.service import callers_rules, capacity_rules, llm_rules
from infra.metrics import BalancerMetrics, FleetMetrics
from server.fleet.cloudwatch import NAMESPACE

__all__ = ["AlarmConfig", "Alarms"]

_COMPOSITES: dict[Composite, str] = {
    "callers-hurt": "People on the phone notice it now: begin with the alarm of it that went red first.",
    "capacity": "The fleet can't grow, or does not see that it should: callers will be refused next.",
    "gpu-failing": "A GPU reports a fault or overheats: take its node out before it fails calls.",
}


class Alarms(Construct):
    """The alarms of a fleet. They know its group by name only, so they can be there before it.

    `alarms` and `composites` are by name; `rollback` are the full names of those (ten at most) that make an instance
    refresh roll back: names, as the fleet is in another stack, and the CDK takes no reference into an update policy.
    `lines` are their thresholds, to be drawn in a graph of the same metric.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        config: AlarmConfig,
        *,
        group_name: str,
        balancer: BalancerMetrics,
        topic: sns.ITopic,
        launch_failures: events.Rule,
        bedrock_models: Sequence[str],
        nodes_log: logs.ILogGroup,
    ) -> None:
        super().__init__(scope, construct_id)
        self.runbook = config.runbook
        self._group = group_name
        self._notify = actions.SnsAction(topic)
        fleet = FleetMetrics(group_name)
        self._rules = {
            rule.name: rule
            for rule in [
                *callers_rules(config, fleet, balancer),
                *capacity_rules(config, fleet, launch_failures),
                *llm_rules(config, fleet, bedrock_models),
                *gpu_rules(config, fleet, self._kernel_xids(nodes_log)),
                *node_rules(config, fleet),
            ]
        }
        self.alarms = {name: self._alarm(rule) for name, rule in self._rules.items()}
        self.composites = {name: self._composite(name, action) for name, action in _COMPOSITES.items()}
        self.rollback = [self._name(name) for name, rule in self._rules.items() if rule.stops_rollout]

    def metric(self, name: str) -> cw.IMetric:
        """What the alarm of that name watches."""
        return self._rules[name].metric

    def line(self, name: str) -> cw.HorizontalAnnotation:
        """The threshold of the alarm of that name."""
        rule = self._rules[name]
        return cw.HorizontalAnnotation(value=rule.threshold, label=f"alarm {name}", color=cw.Color.RED)

    def _name(self, name: str) -> str:
        return f"{self._group}-{name}"

    def _kernel_xids(self, nodes_log: logs.ILogGroup) -> cw.Metric:
        """Lines in which a node's kernel tells of an XID. A filter gives no dimension: the namespace has the group."""
        found = logs.MetricFilter(
            self,
            "KernelXids",
            log_group=nodes_log,
            filter_pattern=logs.FilterPattern.all_terms("NVRM: Xid"),
            metric_namespace=f"{NAMESPACE}/{self._group}",
            metric_name="kernel_xid_lines",
            default_value=0,
        )
        return found.metric(statistic="Sum", period=Duration.minutes(1))

    def _alarm(self, rule: Rule) -> cw.Alarm:
        notified = f"Notifies through {rule.composite}." if rule.composite else "Notifies."
        alarm = cw.Alarm(
            self,
            rule.name,
            alarm_name=self._name(rule.name),
            alarm_description=f"{rule.action} {notified} {self.runbook}#{rule.section or rule.name}",
            metric=rule.metric,
            threshold=rule.threshold,
            evaluation_periods=rule.of,
            datapoints_to_alarm=rule.times,
            comparison_operator=cw.ComparisonOperator.LESS_THAN_THRESHOLD
            if rule.below
            else cw.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cw.TreatMissingData.BREACHING
            if rule.red_when_missing
            else cw.TreatMissingData.NOT_BREACHING,
        )
        if not rule.composite:
            self._notifies(alarm)
        return alarm

    def _composite(self, name: Composite, action: str) -> cw.CompositeAlarm:
        composite = cw.CompositeAlarm(
            self,
            name,
            composite_alarm_name=self._name(name),
            alarm_description=f"{action} {self.runbook}#{name}",
            alarm_rule=cw.AlarmRule.any_of(
                *[
                    cw.AlarmRule.from_alarm(self.alarms[rule.name], cw.AlarmState.ALARM)
                    for rule in self._rules.values()
                    if rule.composite == name
                ]
            ),
        )
        self._notifies(composite)
        return composite

    def _notifies(self, alarm: cw.AlarmBase) -> None:
        alarm.add_alarm_action(self._notify)
        alarm.add_ok_action(self._notify)
