"""The fleet `prod` of `cdk.json`, deployed by the real CLI to AWS on loopback."""

import copy
import json
from dataclasses import dataclass, field
from typing import Any

from tests.support.cloud.deploy import ROOT, Cloud

AMI_PARAMETER = "/voicefleet/prod/ami"
PARTS = ("data", "network", "observability", "fleet")
FIRST_IMAGE, SECOND_IMAGE = "ami-12c6146b", "ami-000c540e28953ace2"  # of those that moto knows


@dataclass
class Deployed:
    """The fleet `prod` of `cdk.json`, with what an operator adds: a certificate, a name, planned sizes."""

    cloud: Cloud
    context: dict[str, Any]
    zone: str
    certificate: str
    name: str = "voicefleet-prod"
    outputs: dict[str, str] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        """A boto3 client."""
        return self.cloud.client(service)

    def deploy(self, *arguments: str) -> None:
        """What `cdk deploy` makes of the context as it now is."""
        self.cloud.deploy(self.context, *arguments)
        self.outputs = {
            output["OutputKey"]: output["OutputValue"]
            for part in PARTS
            for output in self.stack(part).get("Outputs", [])
        }

    def stack(self, part: str) -> dict[str, Any]:
        """One of the stacks, as CloudFormation describes it."""
        described = self.client("cloudformation").describe_stacks(StackName=f"{self.name}-{part}")
        found: dict[str, Any] = described["Stacks"][0]
        return found

    @property
    def environment(self) -> dict[str, Any]:
        """What the context says of `prod`."""
        chosen: dict[str, Any] = self.context["environments"]["prod"]
        return chosen

    def group(self) -> dict[str, Any]:
        """The Auto Scaling group."""
        groups = self.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[self.name])
        found: dict[str, Any] = groups["AutoScalingGroups"][0]
        return found

    def put_image(self, image: str) -> None:
        """The image that the next deploy takes."""
        self.client("ssm").put_parameter(
            Name=AMI_PARAMETER, Value=image, Type="String", DataType="aws:ec2:image", Overwrite=True
        )


def fleet_of(cloud: Cloud) -> Deployed:
    """The fleet as an operator prepares it, with a certificate, a name and an image; to be changed, and deployed."""
    zones = cloud.client("route53").create_hosted_zone(Name="example.com", CallerReference="test")
    context = copy.deepcopy(json.loads((ROOT / "cdk.json").read_text(encoding="utf-8"))["context"])
    deployed = Deployed(
        cloud,
        context | {"env": "prod"},
        zones["HostedZone"]["Id"].rpartition("/")[2],
        cloud.import_certificate("voice.example.com"),
    )
    deployed.environment["load_balancer"] = {
        "certificate_arn": deployed.certificate,
        "domain_name": "voice.example.com",
        "hosted_zone_id": deployed.zone,
    }
    deployed.put_image(FIRST_IMAGE)
    return deployed
