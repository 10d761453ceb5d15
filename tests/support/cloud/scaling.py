"""The resource types of EC2 Auto Scaling: the group and what belongs to it, and its launch template.

A group's UpdatePolicy is nobody's here: an update replaces no node. Assert it in the template.
"""

from typing import Any

from tests.support.cloud.api import Parameters
from tests.support.cloud.resource import Resource

_NOT_ON_UPDATE = ("LifecycleHookSpecificationList", "Tags", "TargetGroupARNs")


class LaunchTemplate(Resource):
    """An update makes a new version, as AWS does."""

    type = "AWS::EC2::LaunchTemplate"
    name_property = "LaunchTemplateName"

    def create(self) -> None:
        """Version 1."""
        parameters = self.properties | {"LaunchTemplateName": self.name}
        made = self.api.call("ec2", "CreateLaunchTemplate", **parameters)["LaunchTemplate"]
        self.physical_resource_id = made["LaunchTemplateId"]

    def update(self, before: Parameters) -> None:
        """The next version."""
        once = (self.name_property, "TagSpecifications")
        parameters = {key: value for key, value in self.properties.items() if key not in once}
        self.api.call("ec2", "CreateLaunchTemplateVersion", LaunchTemplateId=self.physical_resource_id, **parameters)

    def remove(self) -> None:
        """All versions."""
        self.api.call("ec2", "DeleteLaunchTemplate", LaunchTemplateId=self.physical_resource_id)

    def attribute(self, name: str) -> Any:
        """The numbers of its versions."""
        found = self.api.call("ec2", "DescribeLaunchTemplates", LaunchTemplateIds=[self.physical_resource_id])
        numbers = {"LatestVersionNumber", "DefaultVersionNumber"} & {name}
        return str(found["LaunchTemplates"][0][name]) if numbers else super().attribute(name)


class AutoScalingGroup(Resource):
    """A group, with what AWS has operations of its own for."""

    type = "AWS::AutoScaling::AutoScalingGroup"
    name_property = "AutoScalingGroupName"

    def create(self) -> None:
        """The group with its hooks and its nodes, then what is told of it."""
        self._call("CreateAutoScalingGroup", **self._parameters())
        self._put_collections()

    def update(self, before: Parameters) -> None:
        """Change it in place."""
        parameters = {key: value for key, value in self._parameters().items() if key not in _NOT_ON_UPDATE}
        self._call("UpdateAutoScalingGroup", **parameters)
        self._replace_hooks(before.get("LifecycleHookSpecificationList", []))
        self._replace_tags(before.get("Tags", []))
        self._replace_target_groups(before.get("TargetGroupARNs", []))
        self._put_collections()

    def remove(self) -> None:
        """Down to no node, then the group. AWS waits, for hours, for a node that is protected; here that is refused."""
        if not (group := self._found()):
            return  # deleted by hand
        self._call("UpdateAutoScalingGroup", MinSize=0, DesiredCapacity=0)
        if held := [node["InstanceId"] for node in group[0]["Instances"] if node["ProtectedFromScaleIn"]]:
            raise ValueError(f"{', '.join(held)} are protected from scale-in")
        self._call("DeleteAutoScalingGroup", ForceDelete=True)

    def attribute(self, name: str) -> Any:
        """Its ARN."""
        if name != "AutoScalingGroupARN":
            return super().attribute(name)
        return self._found()[0]["AutoScalingGroupARN"]

    def _found(self) -> list[Parameters]:
        found = self.api.call("autoscaling", "DescribeAutoScalingGroups", AutoScalingGroupNames=[self.name])
        groups: list[Parameters] = found["AutoScalingGroups"]
        return groups

    def _call(self, operation: str, **parameters: Any) -> None:
        self.api.call("autoscaling", operation, AutoScalingGroupName=self.name, **parameters)

    def _parameters(self) -> Parameters:
        """The properties as the operations name them, without those that have operations of their own."""
        parameters = dict(self.properties)
        for elsewhere in (self.name_property, "MetricsCollection", "NotificationConfigurations"):
            parameters.pop(elsewhere, None)
        if "Cooldown" in parameters:
            parameters["DefaultCooldown"] = parameters.pop("Cooldown")
        if "VPCZoneIdentifier" in parameters:
            parameters["VPCZoneIdentifier"] = ",".join(parameters["VPCZoneIdentifier"])
        return parameters

    def _put_collections(self) -> None:
        for collection in self.properties.get("MetricsCollection", []):
            self._call("EnableMetricsCollection", **collection)
        for configuration in self.properties.get("NotificationConfigurations", []):
            topic = configuration["TopicARN"]
            self._call(
                "PutNotificationConfiguration",
                TopicARN=topic[0] if isinstance(topic, list) else topic,
                NotificationTypes=configuration["NotificationTypes"],
            )

    def _replace_hooks(self, before: list[Parameters]) -> None:
        now = self.properties.get("LifecycleHookSpecificationList", [])
        for name in {hook["LifecycleHookName"] for hook in before} - {hook["LifecycleHookName"] for hook in now}:
            self._call("DeleteLifecycleHook", LifecycleHookName=name)
        for hook in now:
            self._call("PutLifecycleHook", **hook)

    def _replace_tags(self, before: list[Parameters]) -> None:
        def owned(tags: list[Parameters]) -> list[Parameters]:
            return [tag | {"ResourceId": self.name, "ResourceType": "auto-scaling-group"} for tag in tags]

        now = self.properties.get("Tags", [])
        if gone := [tag for tag in before if tag["Key"] not in {kept["Key"] for kept in now}]:
            self.api.call("autoscaling", "DeleteTags", Tags=owned(gone))
        if now:
            self.api.call("autoscaling", "CreateOrUpdateTags", Tags=owned(now))

    def _replace_target_groups(self, before: list[str]) -> None:
        now = self.properties.get("TargetGroupARNs", [])
        if gone := [arn for arn in before if arn not in now]:
            self._call("DetachLoadBalancerTargetGroups", TargetGroupARNs=gone)
        if new := [arn for arn in now if arn not in before]:
            self._call("AttachLoadBalancerTargetGroups", TargetGroupARNs=new)


class LifecycleHook(Resource):
    """A hook of a group that is there already."""

    type = "AWS::AutoScaling::LifecycleHook"
    name_property = "LifecycleHookName"

    def create(self) -> None:
        """Put it."""
        self.api.call("autoscaling", "PutLifecycleHook", **self.properties | {"LifecycleHookName": self.name})

    def remove(self) -> None:
        """Delete it."""
        group = self.properties["AutoScalingGroupName"]
        self.api.call("autoscaling", "DeleteLifecycleHook", AutoScalingGroupName=group, LifecycleHookName=self.name)


class ScalingPolicy(Resource):
    """Ref is the policy's ARN, as an alarm's action wants it."""

    type = "AWS::AutoScaling::ScalingPolicy"

    def create(self) -> None:
        """Put it."""
        self.api.call("autoscaling", "PutScalingPolicy", **self.properties | {"PolicyName": self.name})
        made = self.api.call("autoscaling", "DescribePolicies", PolicyNames=[self.name])["ScalingPolicies"][0]
        self.physical_resource_id = made["PolicyARN"]  # moto misspells it in the answer to Put

    def remove(self) -> None:
        """Delete it."""
        self.api.call("autoscaling", "DeletePolicy", PolicyName=self.name)

    def attribute(self, name: str) -> Any:
        """Its ARN and its name."""
        return {"Arn": self.physical_resource_id, "PolicyName": self.name}[name]


class ScheduledAction(Resource):
    """A change of a group's size at a known time."""

    type = "AWS::AutoScaling::ScheduledAction"

    def create(self) -> None:
        """Put it."""
        named = self.properties | {"ScheduledActionName": self.name}
        self.api.call("autoscaling", "PutScheduledUpdateGroupAction", **named)

    def remove(self) -> None:
        """Delete it."""
        group = self.properties["AutoScalingGroupName"]
        self.api.call("autoscaling", "DeleteScheduledAction", AutoScalingGroupName=group, ScheduledActionName=self.name)


class WarmPool(Resource):
    """Only a setting in moto: it holds no instances."""

    type = "AWS::AutoScaling::WarmPool"

    def create(self) -> None:
        """Put it."""
        self.api.call("autoscaling", "PutWarmPool", **self.properties)
        self.physical_resource_id = self.properties["AutoScalingGroupName"]

    def remove(self) -> None:
        """Delete it."""
        self.api.call("autoscaling", "DeleteWarmPool", AutoScalingGroupName=self.physical_resource_id)


RESOURCES = (LaunchTemplate, AutoScalingGroup, LifecycleHook, ScalingPolicy, ScheduledAction, WarmPool)
