"""API operations that moto lacks, and faults of those it has that stand in a fleet's way."""

from collections.abc import Callable
from typing import Any

from moto.autoscaling.models import AutoScalingBackend
from moto.autoscaling.responses import AutoScalingResponse
from moto.cloudformation.responses import CloudFormationResponse
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.models.launch_templates import LaunchTemplate, LaunchTemplateVersion
from moto.ec2.utils import parse_user_data
from moto.elbv2.models import ELBv2Backend
from moto.iam.access_control import IAMPolicyStatement, PermissionResult
from moto.s3.models import FakeBucket, S3Backend

_DEREGISTRATION_DELAY = "deregistration_delay.timeout_seconds"
# Parameters of a group that moto takes and drops, with the attribute under which it would show them.
_DROPPED = {
    "CapacityRebalance": "capacity_rebalance",
    "DefaultCooldown": "default_cooldown",
    "DefaultInstanceWarmup": "default_instance_warmup",
    "InstanceLifecyclePolicy": "instance_lifecycle_policy",
    "InstanceMaintenancePolicy": "instance_maintenance_policy",
    "MaxInstanceLifetime": "max_instance_lifetime",
    "TerminationPolicies": "termination_policies",
}


def install() -> None:
    """Add and mend them."""
    # Its PutMetricAlarm takes an AlarmRule too; only the name of the operation is missing.
    CloudWatchResponse.put_composite_alarm = CloudWatchResponse.put_metric_alarm  # type: ignore[attr-defined]
    CloudFormationResponse.update_termination_protection = update_termination_protection  # type: ignore[attr-defined]
    LaunchTemplate.create_version = _launchable(LaunchTemplate.create_version)  # type: ignore[method-assign]
    # Who may write a bucket's access logs is asked when they are written, not when they are turned on.
    FakeBucket._log_permissions_enabled_policy = staticmethod(lambda **_: True)  # type: ignore[method-assign, assignment]
    # AWS delivers them hours later; moto at once, so that a bucket which is deleted fills the one that it logs to.
    S3Backend.log_incoming_request = lambda *_: None  # type: ignore[method-assign]
    for operation in (put_notification_configuration, describe_notification_configurations):
        setattr(AutoScalingResponse, operation.__name__, operation)
    for name in ("create_auto_scaling_group", "update_auto_scaling_group"):
        setattr(AutoScalingResponse, name, _nothing_dropped(getattr(AutoScalingResponse, name)))
    AutoScalingBackend.update_auto_scaling_group = _policy_kept(AutoScalingBackend.update_auto_scaling_group)  # type: ignore[method-assign]
    ELBv2Backend.modify_target_group_attributes = _a_full_hour(ELBv2Backend.modify_target_group_attributes)  # type: ignore[method-assign]
    IAMPolicyStatement.is_action_permitted = _unconditional(IAMPolicyStatement.is_action_permitted)  # type: ignore[method-assign]


def update_termination_protection(response: CloudFormationResponse) -> ActionResult:
    """A stack that is protected says so, and is not deleted (`stack_life`)."""
    stack = response.cloudformation_backend.get_stack(response._get_param("StackName"))
    stack.enable_termination_protection = response._get_bool_param("EnableTerminationProtection")
    return ActionResult({"StackId": stack.stack_id})


def put_notification_configuration(response: AutoScalingResponse) -> ActionResult:
    """Who is told of a group's launches and terminations. Nothing is sent."""
    group = _group(response)
    topics = {**getattr(group, "notifications", {})}
    group.notifications = topics | {response._get_param("TopicARN"): response._get_param("NotificationTypes")}
    return EmptyResult()


def describe_notification_configurations(response: AutoScalingResponse) -> ActionResult:
    """One for each topic and type, as AWS answers."""
    names = response._get_param("AutoScalingGroupNames", [])
    groups = response.autoscaling_backend.describe_auto_scaling_groups(names)
    found = [
        {"AutoScalingGroupName": group.name, "TopicARN": topic, "NotificationType": kind}
        for group in groups
        for topic, kinds in getattr(group, "notifications", {}).items()
        for kind in kinds
    ]
    return ActionResult({"NotificationConfigurations": found})


def _group(response: AutoScalingResponse) -> Any:
    return response.autoscaling_backend.autoscaling_groups[response._get_param("AutoScalingGroupName")]


def _nothing_dropped(operation: Callable[..., ActionResult]) -> Callable[..., ActionResult]:
    def put(response: AutoScalingResponse) -> ActionResult:
        result = operation(response)
        for parameter, attribute in _DROPPED.items():
            if (value := response._get_param(parameter)) is not None:
                setattr(_group(response), attribute, value)
        return result

    return put


def _policy_kept(update: Callable[..., Any]) -> Callable[..., Any]:
    """moto forgets a group's MixedInstancesPolicy at an update that does not repeat it."""

    def update_auto_scaling_group(backend: AutoScalingBackend, name: str, **parameters: Any) -> Any:
        before = backend.autoscaling_groups[name].mixed_instances_policy
        group = update(backend, name, **parameters)
        if not any(
            parameters[source] for source in ("mixed_instances_policy", "launch_template", "launch_config_name")
        ):
            group.mixed_instances_policy = before
        return group

    return update_auto_scaling_group


def _launchable(create: Callable[..., LaunchTemplateVersion]) -> Callable[..., LaunchTemplateVersion]:
    """moto can't launch from a version after the first, for it does not look at that version's user data."""

    def create_version(template: LaunchTemplate, data: dict[str, Any], description: str) -> LaunchTemplateVersion:
        if isinstance(script := data.get("UserData"), str):
            data = data | {"UserData": parse_user_data(script)}
        return create(template, data, description)

    return create_version


def _a_full_hour(modify: Callable[..., None]) -> Callable[..., None]:
    """AWS takes a deregistration delay of up to and including 3600 s, moto of less."""

    def modify_target_group_attributes(
        backend: ELBv2Backend, target_group_arn: str, attributes: dict[str, Any]
    ) -> None:
        hour = {key: value for key, value in attributes.items() if (key, value) == (_DEREGISTRATION_DELAY, "3600")}
        modify(backend, target_group_arn, {key: value for key, value in attributes.items() if key not in hour})
        backend.target_groups[target_group_arn].attributes.update(hour)

    return modify_target_group_attributes


def _unconditional(permitted: Callable[..., PermissionResult]) -> Callable[..., PermissionResult]:
    """moto overlooks the Condition of a Deny, and so forbids everything to a bucket that asks for TLS."""

    def is_action_permitted(statement: IAMPolicyStatement, *positional: Any, **named: Any) -> PermissionResult:
        if statement._statement["Effect"] == "Deny" and "Condition" in statement._statement:
            return PermissionResult.NEUTRAL
        return permitted(statement, *positional, **named)

    return is_action_permitted
