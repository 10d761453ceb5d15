"""The stand-in for EC2 Auto Scaling holds instances at their hooks as the service does."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from tests.support.cloud import autoscaling_life

GROUP = "group"
HOOKS = [
    {"LifecycleHookName": "join", "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING"},
    {"LifecycleHookName": "drain", "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING"},
]


class Group:
    """A group of two instances at first."""

    def __init__(self, hooks: list[dict[str, str]]) -> None:
        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
        boto3.client("ec2", "us-east-1", **keys).create_launch_template(
            LaunchTemplateName=GROUP, LaunchTemplateData={"ImageId": "ami-12c6146b", "InstanceType": "g5.xlarge"}
        )
        self.client = boto3.client("autoscaling", "us-east-1", **keys)
        self.client.create_auto_scaling_group(
            AutoScalingGroupName=GROUP,
            MinSize=0,
            MaxSize=5,
            DesiredCapacity=2,
            AvailabilityZones=["us-east-1a"],
            LaunchTemplate={"LaunchTemplateName": GROUP},
            LifecycleHookSpecificationList=hooks,
        )

    @property
    def states(self) -> dict[str, str]:
        groups = self.client.describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])["AutoScalingGroups"]
        return {instance["InstanceId"]: instance["LifecycleState"] for instance in groups[0]["Instances"]}

    def complete(self, instance: str, hook: str, result: str = "CONTINUE") -> None:
        self.client.complete_lifecycle_action(
            AutoScalingGroupName=GROUP, LifecycleHookName=hook, InstanceId=instance, LifecycleActionResult=result
        )

    def protect(self, instance: str) -> None:
        self.client.set_instance_protection(
            AutoScalingGroupName=GROUP, InstanceIds=[instance], ProtectedFromScaleIn=True
        )

    def scale(self, capacity: int) -> None:
        self.client.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=capacity)


@pytest.fixture(autouse=True)
def _cloud() -> Iterator[None]:
    autoscaling_life.install()
    autoscaling_life.install()  # once is as good as twice
    with mock_aws():
        yield


def refused(action: Any, *arguments: str) -> str:
    with pytest.raises(ClientError) as error:
        action(*arguments)
    assert error.value.response["Error"]["Code"] == "ValidationError"
    return str(error.value)


def test_an_instance_waits_for_its_launch_hook_and_is_completed_once() -> None:
    group = Group(HOOKS)
    one, other = group.states
    assert set(group.states.values()) == {"Pending:Wait"}
    assert "not in InService" in refused(group.protect, one)
    group.complete(one, "join")
    assert group.states == {one: "InService", other: "Pending:Wait"}
    assert "No active Lifecycle Action found" in refused(group.complete, one, "join")
    assert "No active Lifecycle Action found" in refused(group.complete, other, "drain")
    assert "not found" in refused(group.complete, other, "misnamed")
    assert "not part of" in refused(group.protect, "i-0")


def test_an_instance_that_is_abandoned_is_replaced() -> None:
    group = Group(HOOKS)
    one, other = group.states
    group.complete(one, "join", "ABANDON")
    assert len(group.states) == 2
    assert one not in group.states
    assert group.states[other] == "Pending:Wait"


def test_scale_in_leaves_out_what_is_protected_and_waits_for_the_hook() -> None:
    group = Group(HOOKS)
    one, other = group.states
    group.complete(one, "join")
    group.complete(other, "join")
    group.protect(one)
    group.scale(0)
    assert group.states == {one: "InService", other: "Terminating:Wait"}
    group.scale(0)
    assert group.states == {one: "InService", other: "Terminating:Wait"}
    group.complete(other, "drain")
    assert group.states == {one: "InService"}


def test_an_instance_that_is_terminated_waits_too_and_is_replaced_unless_the_capacity_shrinks() -> None:
    group = Group(HOOKS)
    one, other = group.states
    for instance in (one, other):
        group.complete(instance, "join")
    group.client.terminate_instance_in_auto_scaling_group(InstanceId=one, ShouldDecrementDesiredCapacity=True)
    assert group.states == {one: "Terminating:Wait", other: "InService"}
    group.client.terminate_instance_in_auto_scaling_group(InstanceId=other, ShouldDecrementDesiredCapacity=False)
    assert sorted(group.states.values()) == ["Pending:Wait", "Terminating:Wait", "Terminating:Wait"]
    assert "No managed instance found" in refused(
        lambda: group.client.terminate_instance_in_auto_scaling_group(
            InstanceId="i-0", ShouldDecrementDesiredCapacity=False
        )
    )


def test_without_hooks_nothing_waits() -> None:
    group = Group([])
    assert set(group.states.values()) == {"InService"}
    group.scale(1)
    assert len(group.states) == 1
    (left,) = group.states
    group.client.terminate_instance_in_auto_scaling_group(InstanceId=left, ShouldDecrementDesiredCapacity=True)
    assert group.states == {}
