"""What is written down: the nodes' logs, metrics that come as logs (EMF), the fleet's events, who accessed what."""

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.accepted_findings import accept
from infra.config import Environment, LogDays


def log_group(scope: Construct, construct_id: str, *, days: LogDays, name: str | None = None) -> logs.LogGroup:
    """A log group that keeps its lines for `days` and goes with the stack."""
    group = logs.LogGroup(scope, construct_id, log_group_name=name, removal_policy=RemovalPolicy.DESTROY)
    resource = group.node.default_child
    assert isinstance(resource, logs.CfnLogGroup)
    resource.retention_in_days = days  # the construct takes names such as ONE_MONTH only
    return group


class Logs(Construct):
    """The log groups `nodes`, `metrics` and `events`, and the bucket `access` for access logs."""

    def __init__(self, scope: Construct, construct_id: str, config: Environment) -> None:
        super().__init__(scope, construct_id)
        self.nodes = log_group(self, "Nodes", days=config.log_days, name=f"/voicefleet/{config.name}/nodes")
        self.metrics = log_group(self, "Metrics", days=7, name=f"/voicefleet/{config.name}/metrics")
        self.events = log_group(self, "Events", days=config.log_days, name=f"/aws/events/voicefleet-{config.name}")
        self.access = s3.Bucket(
            self,
            "Access",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.S3_MANAGED,  # the load balancer can write to no other kind
            enforce_ssl=True,
            lifecycle_rules=[s3.LifecycleRule(expiration=Duration.days(config.access_log_days))],
            removal_policy=RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
        )
        accept(self.access, "S1", "This is the bucket that access logs go to.")
