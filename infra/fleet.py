"""The nodes: what one is started from, how many there are, how one joins, is replaced and leaves.

A node is judged by EC2 and by itself (`SetInstanceHealth`), never by the load balancer, to which one that drains is
unwell.
"""

import shlex
from collections.abc import Sequence

from aws_cdk import Duration, Size, Tags
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from infra.accepted_findings import accept
from infra.config import Environment
from infra.config.fleet import MAX_HEALTHY_PERCENT, WARMUP_SECONDS
from infra.keys import Keys
from infra.load_balancer import LoadBalancer
from infra.logs import Logs
from infra.models import ModelStore
from infra.network import Network
from infra.node_role import NodeRole
from server.fleet.lifecycle import LAUNCH_HOOK, TERMINATE_HOOK

ENVIRONMENT_FILE = "/etc/voicefleet/node.env"  # read by the units of the image
MPS_FOLDER = "/run/voicefleet-mps"  # made by voicefleet-mps.service, which runs where it is named
VOICES_FOLDER = "/mnt/nvme/voices"  # filled by voicefleet-voices.service
_ROOT_DEVICE = "/dev/sda1"  # of Ubuntu's images


class Fleet(Construct):
    """`group` is the Auto Scaling group, `name` its name."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        config: Environment,
        *,
        network: Network,
        balancer: LoadBalancer,
        role: NodeRole,
        models: ModelStore,
        keys: Keys,
        logs: Logs,
        rollback_alarms: Sequence[str],
    ) -> None:
        super().__init__(scope, construct_id)
        fleet = config.fleet
        self.name = config.fleet_name
        template = ec2.LaunchTemplate(
            self,
            "Template",
            # Its value is read when the stack is deployed and stands in the template as an id: `resolve:ssm` there
            # would be read at each launch, and an instance refresh could not roll back.
            machine_image=ec2.MachineImage.generic_linux(
                {
                    config.region: ssm.StringParameter.value_for_typed_string_parameter_v2(
                        self, fleet.ami_parameter, ssm.ParameterValueType.AWS_EC2_IMAGE_ID
                    )
                }
            ),
            instance_type=ec2.InstanceType(fleet.instance_types[0]),
            instance_profile=role.profile,
            security_group=balancer.nodes,
            require_imdsv2=True,
            http_put_response_hop_limit=1,
            detailed_monitoring=True,
            block_devices=[
                ec2.BlockDevice(
                    device_name=_ROOT_DEVICE,
                    volume=ec2.BlockDeviceVolume.ebs(
                        fleet.root_gib,
                        volume_type=ec2.EbsDeviceVolumeType.GP3,
                        encrypted=True,
                        volume_initialization_rate=Size.mebibytes(fleet.root_initialization_mib)
                        if fleet.root_initialization_mib
                        else None,
                    ),
                )
            ],
            user_data=_user_data(
                {
                    "VOICE_HOST": "0.0.0.0",  # noqa: S104  # behind the load balancer's security group
                    "VOICE_LLM": config.node.llm,
                    "VOICE_MAX_SESSIONS": str(config.node.max_sessions),
                    "VOICE_DRAIN_SECONDS": str(fleet.drain_seconds),
                    "VOICE_MODEL_S3": models.url,
                    "VOICE_KEYS_SECRET": keys.name,
                    "VOICE_FLEET_GROUP": self.name,
                    "AWS_REGION": config.region,
                    "LOG_GROUP": logs.nodes.log_group_name,
                    "METRICS_LOG_GROUP": logs.metrics.log_group_name,
                    **({"CUDA_MPS_PIPE_DIRECTORY": MPS_FOLDER} if config.node.mps else {}),
                    **_with_voices_on_disk(config.node.settings),
                }
            ),
        )
        Tags.of(template).add("Name", self.name)
        self.group = autoscaling.AutoScalingGroup(
            self,
            "Group",
            auto_scaling_group_name=self.name,
            vpc=network.vpc,
            vpc_subnets=network.for_nodes,
            min_capacity=fleet.min_nodes,
            max_capacity=fleet.max_nodes,
            mixed_instances_policy=_mixture(config, template),
            capacity_rebalance=fleet.spot_percent > 0,
            health_checks=autoscaling.HealthChecks.ec2(grace_period=Duration.seconds(fleet.launch_seconds)),
            default_instance_warmup=Duration.seconds(60),  # the hook has waited for the rest
            termination_policies=[
                autoscaling.TerminationPolicy.OLDEST_LAUNCH_TEMPLATE,
                autoscaling.TerminationPolicy.DEFAULT,
            ],
            group_metrics=[autoscaling.GroupMetrics.all()],
            min_healthy_percentage=100,
            max_healthy_percentage=MAX_HEALTHY_PERCENT,
            # A node that has been silent for long while it drained is kept, with the calls that it may still have.
            instance_lifecycle_policy=autoscaling.InstanceLifecyclePolicy(
                retention_triggers=autoscaling.RetentionTriggers(
                    terminate_hook_abandon=autoscaling.TerminateHookAbandonAction.RETAIN
                )
            ),
            update_policy=autoscaling.UpdatePolicy.instance_refresh(
                strategy=autoscaling.InstanceRefreshStrategy.ROLLING,
                alarms=[cloudwatch.Alarm.from_alarm_name(self, name, name) for name in rollback_alarms]
                if fleet.rollback_on_alarms
                else None,
                checkpoint_percentages=list(fleet.checkpoints),
                checkpoint_delay=Duration.seconds(fleet.checkpoint_seconds),
                bake_time=Duration.seconds(fleet.bake_seconds),
                min_healthy_percentage=100,
                max_healthy_percentage=MAX_HEALTHY_PERCENT,
                instance_warmup=Duration.seconds(WARMUP_SECONDS),
                # Nodes with calls are protected from scale-in; a rollout replaces them all the same, by draining.
                scale_in_protected_instances=autoscaling.ScaleInProtectedInstances.REFRESH,
                skip_matching=True,
            ),
        )
        accept(self.group, "AS3", "What the group does is taken from EventBridge (events.py), with more detail.")
        accept(self.group, "EC26", "The rule can't read a launch template; the one volume in it is encrypted.")
        self.group.attach_to_network_target_group(balancer.targets)
        self._add_hooks(config)
        if fleet.warm_nodes:
            self.group.add_warm_pool(
                min_size=fleet.warm_nodes,
                max_group_prepared_capacity=fleet.min_nodes + fleet.warm_nodes,
                pool_state=autoscaling.PoolState.STOPPED,
            )

    def _add_hooks(self, config: Environment) -> None:
        """As part of the group: hooks that are resources of their own come after the first nodes have started."""
        resource = self.group.node.default_child
        assert isinstance(resource, autoscaling.CfnAutoScalingGroup)
        hook = autoscaling.CfnAutoScalingGroup.LifecycleHookSpecificationProperty
        resource.lifecycle_hook_specification_list = [
            hook(
                lifecycle_hook_name=LAUNCH_HOOK,
                lifecycle_transition="autoscaling:EC2_INSTANCE_LAUNCHING",
                heartbeat_timeout=config.fleet.launch_seconds,
                default_result="ABANDON",
            ),
            hook(
                lifecycle_hook_name=TERMINATE_HOOK,
                lifecycle_transition="autoscaling:EC2_INSTANCE_TERMINATING",
                heartbeat_timeout=config.fleet.drain_heartbeat_seconds,
                default_result="ABANDON",  # which is to be kept, as `instance_lifecycle_policy` says
            ),
        ]


def _mixture(config: Environment, template: ec2.LaunchTemplate) -> autoscaling.MixedInstancesPolicy:
    fleet = config.fleet
    return autoscaling.MixedInstancesPolicy(
        launch_template=template,
        launch_template_overrides=[
            autoscaling.LaunchTemplateOverrides(instance_type=ec2.InstanceType(name)) for name in fleet.instance_types
        ],
        instances_distribution=autoscaling.InstancesDistribution(
            on_demand_allocation_strategy=autoscaling.OnDemandAllocationStrategy.PRIORITIZED,
            on_demand_base_capacity=fleet.min_nodes,
            on_demand_percentage_above_base_capacity=100 - fleet.spot_percent,
            spot_allocation_strategy=autoscaling.SpotAllocationStrategy.PRICE_CAPACITY_OPTIMIZED,
        ),
    )


def _with_voices_on_disk(settings: dict[str, str]) -> dict[str, str]:
    """Voices in S3 are fetched by a unit of their own, as the worker that speaks with them has no credentials."""
    place = settings.get("VOICE_TTS_VOICES", "")
    if not place.startswith("s3://"):
        return settings
    return settings | {"VOICES_S3": place, "VOICE_TTS_VOICES": VOICES_FOLDER}


def _user_data(variables: dict[str, str]) -> ec2.UserData:
    """A file of variables, and the word that it is there: all that differs between nodes of one image.

    No variable is a secret, as whoever is on a node can ask for its user data. The file is closed all the same: systemd
    reads it as root, and who looks for what runs here has to be of the node's group.
    """
    data = ec2.UserData.for_linux()
    data.add_commands(
        "set -eu",
        f"install -d -m 0755 {ENVIRONMENT_FILE.rpartition('/')[0]}",
        f"install -m 0640 -g voicefleet /dev/null {ENVIRONMENT_FILE}",
        f"cat > {ENVIRONMENT_FILE} <<'END_OF_VARIABLES'",
        *(f"{name}={shlex.quote(value)}" for name, value in variables.items()),
        "END_OF_VARIABLES",
        "systemctl start --no-block voicefleet.target",
    )
    return data
