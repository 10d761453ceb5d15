"""When nodes come and go: out fast by target tracking, in slowly by a step, and at known times.

The fleet follows the *average* share of sessions taken. Its maximum would overshoot, for calls stay where they are.
"""

from aws_cdk import Duration
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from constructs import Construct

from infra.config import ScalingConfig
from infra.fleet import Fleet
from infra.metrics import FleetMetrics
from server.fleet.cloudwatch import PERIOD_SECONDS
from server.observability import metrics


class Scaling(Construct):
    """The policies of a fleet."""

    def __init__(self, scope: Construct, construct_id: str, config: ScalingConfig, *, fleet: Fleet) -> None:
        super().__init__(scope, construct_id)
        self._track(config, fleet)
        self._shrink(config, fleet)
        for planned in config.schedule:
            autoscaling.ScheduledAction(
                self,
                f"At-{planned.name}",
                auto_scaling_group=fleet.group,
                schedule=autoscaling.Schedule.expression(planned.cron),
                time_zone=planned.timezone,
                min_capacity=planned.min_nodes,
                max_capacity=planned.max_nodes,
            )

    def _track(self, config: ScalingConfig, fleet: Fleet) -> None:
        """Outwards only. On the resource itself: the construct does not know periods under a minute."""
        utilization = FleetMetrics(fleet.name).of(metrics.sessions_utilization, "Average")
        policy = autoscaling.CfnScalingPolicy
        policy(
            self,
            "Track",
            auto_scaling_group_name=fleet.group.auto_scaling_group_name,
            policy_type="TargetTrackingScaling",
            target_tracking_configuration=policy.TargetTrackingConfigurationProperty(
                target_value=config.target_utilization,
                disable_scale_in=True,
                customized_metric_specification=policy.CustomizedMetricSpecificationProperty(
                    namespace=utilization.namespace,
                    metric_name=utilization.metric_name,
                    dimensions=[
                        policy.MetricDimensionProperty(name=name, value=value)
                        for name, value in (utilization.dimensions or {}).items()
                    ],
                    statistic="Average",
                    period=PERIOD_SECONDS,
                ),
            ),
        )

    def _shrink(self, config: ScalingConfig, fleet: Fleet) -> None:
        """A node goes after a long quiet, and the next one after another such quiet.

        Auto Scaling repeats the action every minute for as long as the alarm is red, and lowers the wished size even
        while every node is protected by its calls. From a wish far below what is there it could not grow in time. So a
        change of the wish ends the quiet, and so does a wish that is not fulfilled yet: they count as minutes in which
        every session was taken.
        """
        of_fleet = FleetMetrics(fleet.name)
        step = autoscaling.StepScalingAction(
            self,
            "Shrink",
            auto_scaling_group=fleet.group,
            adjustment_type=autoscaling.AdjustmentType.CHANGE_IN_CAPACITY,
        )
        step.add_adjustment(adjustment=-1, upper_bound=0)
        quiet = cloudwatch.Alarm(
            self,
            "Quiet",
            alarm_description="No alarm for people: the fleet gives back a node. docs/runbook.md#scale-by-hand",
            metric=cloudwatch.MathExpression(
                expression="IF(DIFF(wished) == 0 AND nodes <= wished, utilization, 1)",
                using_metrics={
                    "wished": of_fleet.aws("AWS/AutoScaling", "GroupDesiredCapacity", "Maximum"),
                    "nodes": of_fleet.in_service(),
                    "utilization": of_fleet.of(metrics.sessions_utilization, "Average"),
                },
                period=Duration.minutes(1),
                label="utilisation while the size is as wished",
            ),
            comparison_operator=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
            threshold=config.scale_in_below,
            evaluation_periods=config.scale_in_minutes,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        quiet.add_alarm_action(actions.AutoScalingAction(step))
