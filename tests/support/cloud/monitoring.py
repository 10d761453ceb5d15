"""The resource types of CloudWatch and CloudWatch Logs. An alarm here never changes its state by itself."""

from typing import Any

from tests.support.cloud.api import Parameters
from tests.support.cloud.resource import Resource


class Alarm(Resource):
    """An alarm on a metric or on an expression of several."""

    type = "AWS::CloudWatch::Alarm"
    name_property = "AlarmName"
    operation = "PutMetricAlarm"

    def create(self) -> None:
        """Put it; its actions are enabled unless the template says otherwise."""
        parameters = {"ActionsEnabled": True} | self.properties | {"AlarmName": self.name}
        self.api.call("cloudwatch", self.operation, **parameters)

    def remove(self) -> None:
        """Delete it."""
        self.api.call("cloudwatch", "DeleteAlarms", AlarmNames=[self.name])

    def attribute(self, name: str) -> Any:
        """Its ARN."""
        return {"Arn": f"arn:aws:cloudwatch:{self.region}:{self.account}:alarm:{self.name}"}[name]


class CompositeAlarm(Alarm):
    """An alarm on other alarms."""

    type = "AWS::CloudWatch::CompositeAlarm"
    operation = "PutCompositeAlarm"


class LogGroup(Resource):
    """A log group, with how long it keeps."""

    type = "AWS::Logs::LogGroup"
    name_property = "LogGroupName"

    def create(self) -> None:
        """Make it, then set how long it keeps."""
        given = {"logGroupName": self.name}
        if key := self.properties.get("KmsKeyId"):
            given["kmsKeyId"] = key
        self.api.call("logs", "CreateLogGroup", **given)
        self._keep()

    def update(self, before: Parameters) -> None:
        """How long it keeps may change."""
        self._keep()

    def remove(self) -> None:
        """Delete it with what it holds."""
        self.api.call("logs", "DeleteLogGroup", logGroupName=self.name)

    def attribute(self, name: str) -> Any:
        """Its ARN."""
        return {"Arn": f"arn:aws:logs:{self.region}:{self.account}:log-group:{self.name}:*"}[name]

    def _keep(self) -> None:
        if days := self.properties.get("RetentionInDays"):
            self.api.call("logs", "PutRetentionPolicy", logGroupName=self.name, retentionInDays=days)


class MetricFilter(Resource):
    """A metric made from log lines. The logs operations name everything in small first letters."""

    type = "AWS::Logs::MetricFilter"
    name_property = "FilterName"

    def create(self) -> None:
        """Put it."""
        self.api.call("logs", "PutMetricFilter", **_uncapitalised(self.properties | {"FilterName": self.name}))

    def remove(self) -> None:
        """Delete it."""
        group = self.properties["LogGroupName"]
        self.api.call("logs", "DeleteMetricFilter", logGroupName=group, filterName=self.name)


def _uncapitalised(value: Any) -> Any:
    match value:
        case dict():
            return {key[0].lower() + key[1:]: _uncapitalised(member) for key, member in value.items()}
        case list():
            return [_uncapitalised(member) for member in value]
    return value


RESOURCES = (Alarm, CompositeAlarm, LogGroup, MetricFilter)
