"""The resource types of SNS and EventBridge that moto lacks or cannot update in place."""

import json
from typing import Any

from tests.support.cloud.api import Parameters
from tests.support.cloud.resource import Resource

_SUBSCRIPTION_ATTRIBUTES = (
    "DeliveryPolicy",
    "FilterPolicy",
    "FilterPolicyScope",
    "RawMessageDelivery",
    "RedrivePolicy",
)


class Topic(Resource):
    """Where something is told. Ref is its ARN."""

    type = "AWS::SNS::Topic"
    name_property = "TopicName"

    def create(self) -> None:
        """Make it with its attributes."""
        given = dict(self.properties)
        tags = given.pop("Tags", [])
        given.pop(self.name_property, None)
        made = self.api.call("sns", "CreateTopic", Name=self.name, Attributes=given, Tags=tags)
        self.physical_resource_id = made["TopicArn"]

    def update(self, before: Parameters) -> None:
        """Its attributes and tags may change."""
        own = {"TopicArn": self.physical_resource_id}
        for name, value in self.properties.items():
            if name not in ("Tags", self.name_property):
                self.api.call("sns", "SetTopicAttributes", **own, AttributeName=name, AttributeValue=value)
        self.api.call("sns", "TagResource", ResourceArn=own["TopicArn"], Tags=self.properties.get("Tags", []))

    def remove(self) -> None:
        """Delete it."""
        self.api.call("sns", "DeleteTopic", TopicArn=self.physical_resource_id)

    def attribute(self, name: str) -> Any:
        """Its ARN and its name."""
        return {"TopicArn": self.physical_resource_id, "TopicName": self.name}[name]


class Subscription(Resource):
    """Who gets what a topic is told. Ref is its ARN."""

    type = "AWS::SNS::Subscription"

    def create(self) -> None:
        """Subscribe."""
        wanted = {key: value for key, value in self.properties.items() if key not in _SUBSCRIPTION_ATTRIBUTES}
        made = self.api.call("sns", "Subscribe", **wanted, Attributes=self._attributes(), ReturnSubscriptionArn=True)
        self.physical_resource_id = made["SubscriptionArn"]

    def update(self, before: Parameters) -> None:
        """What it filters may change."""
        own = {"SubscriptionArn": self.physical_resource_id}
        for name, value in self._attributes().items():
            self.api.call("sns", "SetSubscriptionAttributes", **own, AttributeName=name, AttributeValue=value)

    def remove(self) -> None:
        """Unsubscribe."""
        self.api.call("sns", "Unsubscribe", SubscriptionArn=self.physical_resource_id)

    def _attributes(self) -> dict[str, str]:
        given = {key: self.properties[key] for key in _SUBSCRIPTION_ATTRIBUTES if key in self.properties}
        return {key: value if isinstance(value, str) else json.dumps(value) for key, value in given.items()}


class TopicPolicy(Resource):
    """Who may publish to topics."""

    type = "AWS::SNS::TopicPolicy"

    def create(self) -> None:
        """Set it on each topic."""
        policy = json.dumps(self.properties["PolicyDocument"])
        for topic in self.properties["Topics"]:
            self.api.call("sns", "SetTopicAttributes", TopicArn=topic, AttributeName="Policy", AttributeValue=policy)


class Rule(Resource):
    """Events to targets."""

    type = "AWS::Events::Rule"
    name_property = "Name"

    def create(self) -> None:
        """The rule, then its targets."""
        parameters = {key: value for key, value in self.properties.items() if key != "Targets"} | {"Name": self.name}
        if "EventPattern" in parameters:
            parameters["EventPattern"] = json.dumps(parameters["EventPattern"])
        self.api.call("events", "PutRule", **parameters)
        if targets := self.properties.get("Targets"):
            self.api.call("events", "PutTargets", Rule=self.name, Targets=targets)

    def update(self, before: Parameters) -> None:
        """Put it again; targets that the template no longer has go."""
        kept = {target["Id"] for target in self.properties.get("Targets", [])}
        if gone := [target["Id"] for target in before.get("Targets", []) if target["Id"] not in kept]:
            self.api.call("events", "RemoveTargets", Rule=self.name, Ids=gone)
        self.create()

    def remove(self) -> None:
        """Its targets first, or AWS refuses."""
        if targets := self.properties.get("Targets"):
            self.api.call("events", "RemoveTargets", Rule=self.name, Ids=[target["Id"] for target in targets])
        self.api.call("events", "DeleteRule", Name=self.name)

    def attribute(self, name: str) -> Any:
        """Its ARN."""
        return {"Arn": f"arn:aws:events:{self.region}:{self.account}:rule/{self.name}"}[name]


RESOURCES = (Topic, Subscription, TopicPolicy, Rule)
