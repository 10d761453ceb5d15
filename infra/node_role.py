"""What a node may do, and no more: its own Auto Scaling group, its models, its keys, its Bedrock models, its logs."""

import hashlib

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.accepted_findings import accept_wildcard
from infra.bedrock import profiled_model
from infra.config import Environment
from infra.keys import Keys
from infra.logs import Logs
from infra.models import ModelStore
from server.fleet.cloudwatch import NAMESPACE

# What AWS's guide of Session Manager lists for a role of one's own. Its managed policy would also let a node read every
# parameter of the account, and more that nobody uses here: Run Command, inventory, patches.
_SESSIONS = (
    "ssm:UpdateInstanceInformation",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
)


class NodeRole(Construct):
    """`role` is the nodes', `profile` what gives it to them.

    With other language models they are others. What there was is taken away when the update has ended, so that nodes
    that a rollout has not reached yet can still ask the models that they know.
    """

    def __init__(
        self, scope: Construct, construct_id: str, config: Environment, *, models: ModelStore, keys: Keys, logs: Logs
    ) -> None:
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        of_these_models = Construct(self, hashlib.sha256(config.node.llm.encode()).hexdigest()[:8])
        self.role = iam.Role(of_these_models, "Role", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"))
        self.profile = iam.InstanceProfile(of_these_models, "Profile", role=self.role)
        self._allow(*_SESSIONS, on="*", as_wide_as="A shell in place of SSH; channels are no resources.")
        keys.secret.grant_read(self.role)
        for group in (logs.nodes, logs.metrics):
            group.grant(self.role, "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents")
        self._allow("s3:ListBucket", on=models.arn)
        self._allow("s3:GetObject", on=f"{models.arn}/{models.prefix}/*", as_wide_as="Its models.")
        self._allow(
            "autoscaling:CompleteLifecycleAction",
            "autoscaling:RecordLifecycleActionHeartbeat",
            "autoscaling:SetInstanceHealth",
            "autoscaling:SetInstanceProtection",
            on=f"arn:{stack.partition}:autoscaling:{stack.region}:{stack.account}:autoScalingGroup:*"
            f":autoScalingGroupName/{config.fleet_name}",
            as_wide_as="Its own group; the part of the name that is left open is not known before the group is made.",
        )
        self._allow(
            "cloudwatch:PutMetricData",
            on="*",
            as_wide_as="Metrics are no resources; the condition holds it to one namespace.",
            conditions={"StringEquals": {"cloudwatch:namespace": NAMESPACE}},
        )
        for region, names in config.node.bedrock_models(stack.region).items():
            for model in sorted(names):
                self._allow_bedrock(stack, region, model)

    def _allow_bedrock(self, stack: Stack, region: str, model: str) -> None:
        """One model; or an inference profile, and its model in each region that it may choose."""
        actions = ("bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream")
        own = f"arn:{stack.partition}:bedrock:{region}"
        if everywhere := profiled_model(model):
            self._allow(*actions, on=f"{own}:{stack.account}:inference-profile/{model}")
            self._allow(
                *actions,
                on=f"arn:{stack.partition}:bedrock:*::foundation-model/{everywhere}",
                as_wide_as="One model; its inference profile chooses the region.",
            )
        else:
            self._allow(*actions, on=f"{own}::foundation-model/{model}")

    def _allow(self, *actions: str, on: str, as_wide_as: str = "", conditions: dict[str, object] | None = None) -> None:
        """Allow it `on` a resource. One with an asterisk takes a word about `as_wide_as` what it really is."""
        self.role.add_to_policy(iam.PolicyStatement(actions=list(actions), resources=[on], conditions=conditions))
        if as_wide_as:
            accept_wildcard(self.role, on, as_wide_as)
