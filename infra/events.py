"""What happens to the fleet: spot notices, failed launches, rollouts, life-cycle steps; kept and, where bad, told."""

import jsii
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk.interfaces.aws_events import IRuleRef
from constructs import Construct

from infra.config import Environment

_SPOT = ["EC2 Spot Instance Interruption Warning", "EC2 Instance Rebalance Recommendation"]
_FAILURES = ["EC2 Instance Launch Unsuccessful", "EC2 Instance Terminate Unsuccessful"]
_REFRESH = "EC2 Auto Scaling Instance Refresh"
_FAILED_ROLLOUTS = [f"{_REFRESH} {how}" for how in ("Failed", "Cancelled", "Rollback Started", "Rollback Failed")]
_STEPS = [
    "EC2 Instance-launch Lifecycle Action",
    "EC2 Instance-terminate Lifecycle Action",
    "EC2 Instance Launch Successful",
    "EC2 Instance Terminate Successful",
    *(
        f"{_REFRESH} {how}"
        for how in ("Started", "Checkpoint Reached", "Started Baking", "Succeeded", "Rollback Succeeded")
    ),
]


@jsii.implements(events.IRuleTarget)
class _ToLog:
    """A rule's target: a log group. The library's own brings a Lambda function along, to write one policy."""

    def __init__(self, log: logs.LogGroup) -> None:
        self._log = log

    def bind(self, rule: IRuleRef, id: str | None = None) -> events.RuleTargetConfig:
        return events.RuleTargetConfig(arn=self._log.log_group_arn)


class Events(Construct):
    """`topic` is where people are told; `launch_failures` is the rule whose matches an alarm counts."""

    def __init__(self, scope: Construct, construct_id: str, config: Environment, *, log: logs.LogGroup) -> None:
        super().__init__(scope, construct_id)
        self.topic = sns.Topic(self, "Topic", display_name=f"Voicefleet {config.name}", enforce_ssl=True)
        for address in config.notify:
            self.topic.add_subscription(subscriptions.EmailSubscription(address))
        own = {"AutoScalingGroupName": [config.fleet_name]}
        # A topic with a policy of its own (enforce_ssl makes one) takes from no service that is not named in it.
        self.topic.grant_publish(iam.ServicePrincipal("cloudwatch.amazonaws.com"))
        for service in ("events", "delivery.logs"):
            log.grant(iam.ServicePrincipal(f"{service}.amazonaws.com"), "logs:CreateLogStream", "logs:PutLogEvents")
        record = _ToLog(log)
        tell = targets.SnsTopic(self.topic)

        # EC2's spot events carry no group, only an instance: those of other fleets in the account are kept as well.
        self._rule("Spot", "aws.ec2", _SPOT, None, [record])
        self._rule("Steps", "aws.autoscaling", _STEPS, own, [record])
        self._rule("FailedRollouts", "aws.autoscaling", _FAILED_ROLLOUTS, own, [record, tell])
        self.launch_failures = self._rule("Failures", "aws.autoscaling", _FAILURES, own, [record])

    def _rule(
        self,
        name: str,
        source: str,
        detail_types: list[str],
        detail: dict[str, list[str]] | None,
        then: list[events.IRuleTarget],
    ) -> events.Rule:
        pattern = events.EventPattern(source=[source], detail_type=detail_types, detail=detail)
        return events.Rule(self, name, event_pattern=pattern, targets=then)
