"""An instance of an Auto Scaling group on loopback, as AWS sees it, and an account in which it can be launched."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from moto.autoscaling.models import autoscaling_backends
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.server import ThreadedMotoServer

from server.fleet.cloudwatch import GROUP_DIMENSION, NAMESPACE
from server.fleet.lifecycle import LAUNCH_HOOK, TERMINATE_HOOK
from tests.support.cloud import autoscaling_life
from tests.support.cloud.account import REGION, Account
from tests.support.imds import FakeImds, fake_imds

_NUMBERS = count()


@dataclass
class Instance:
    """A group's only instance, as AWS sees it, with the metadata service that it has."""

    account: Account
    group: str
    id: str
    imds: FakeImds

    @property
    def variables(self) -> dict[str, str]:
        return self.account.variables | self.imds.variables | {"VOICE_FLEET_GROUP": self.group}

    def described(self) -> dict[str, Any]:
        answer = self.account.client("autoscaling").describe_auto_scaling_instances(InstanceIds=[self.id])
        found: list[dict[str, Any]] = answer["AutoScalingInstances"]
        return found[0] if found else {"LifecycleState": "gone"}

    @property
    def state(self) -> str:
        return str(self.described()["LifecycleState"])

    @property
    def protected(self) -> bool:
        return bool(self.described()["ProtectedFromScaleIn"])

    def terminate(self) -> None:
        """As scale-in does: the group moves the instance on, and its metadata service says so."""
        self.account.client("autoscaling").terminate_instance_in_auto_scaling_group(
            InstanceId=self.id, ShouldDecrementDesiredCapacity=True
        )
        self.imds.target_state = "Terminated"

    def heartbeats(self, hook: str) -> int:
        backend = autoscaling_backends[DEFAULT_ACCOUNT_ID][REGION]
        return autoscaling_life.heartbeats(backend, self.id, hook)

    def measured(self, metric: str, **dimensions: str) -> dict[str, float]:
        """Sum and count of what CloudWatch has of it."""
        now = datetime.now(UTC)
        points = self.account.client("cloudwatch").get_metric_statistics(
            Namespace=NAMESPACE,
            MetricName=metric,
            Dimensions=[
                {"Name": name, "Value": value} for name, value in ({GROUP_DIMENSION: self.group} | dimensions).items()
            ],
            StartTime=now - timedelta(minutes=10),
            EndTime=now + timedelta(minutes=10),
            Period=3600,
            Statistics=["Sum", "SampleCount"],
        )["Datapoints"]
        return {name: sum(point[name] for point in points) for name in ("Sum", "SampleCount")}


@contextmanager
def running_account() -> Iterator[Account]:
    """An account with nothing in it, whose Auto Scaling has hooks."""
    autoscaling_life.install()
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # each request would be a line
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        yield Account(f"http://localhost:{server.get_host_and_port()[1]}")
    finally:
        server.stop()


@contextmanager
def launched(account: Account) -> Iterator[Instance]:
    """An instance that waits for its launch hook, in a group of its own."""
    group = f"voicefleet-test-{next(_NUMBERS)}"
    account.client("ec2").create_launch_template(
        LaunchTemplateName=group, LaunchTemplateData={"ImageId": "ami-12c6146b", "InstanceType": "g5.xlarge"}
    )
    autoscaling = account.client("autoscaling")
    autoscaling.create_auto_scaling_group(
        AutoScalingGroupName=group,
        MinSize=0,
        MaxSize=1,
        DesiredCapacity=1,
        AvailabilityZones=[f"{REGION}a"],
        LaunchTemplate={"LaunchTemplateName": group},
        LifecycleHookSpecificationList=[
            {"LifecycleHookName": LAUNCH_HOOK, "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING"},
            {"LifecycleHookName": TERMINATE_HOOK, "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING"},
        ],
    )
    described = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])["AutoScalingGroups"][0]
    instance_id = described["Instances"][0]["InstanceId"]
    with fake_imds(instance_id=instance_id, region=REGION) as imds:
        yield Instance(account, group, instance_id, imds)
