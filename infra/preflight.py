"""Asks the account for what a deploy needs and a template cannot show: `python -m infra.preflight prod`.

It changes nothing. What is wrong is printed with what would do; it ends with 1 then.
"""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import boto3
import typer
from botocore.exceptions import BotoCoreError, ClientError

from infra.config import ConfigError, Environment, FleetConfig, load_environments
from infra.network import ENDPOINTS
from server.errors import VoicefleetError

Client = Callable[[str, str], Any]
"""A boto3 client of a service in a region."""

GPU_QUOTA = "L-DB2E81BA"  # vCPUs of running on-demand G and VT instances
_VCPUS = {"xlarge": 4, "2xlarge": 8, "4xlarge": 16, "8xlarge": 32, "16xlarge": 64}
_BUILD_VCPUS = _VCPUS["xlarge"]  # of the machine that an image is built on


class _Lacking(VoicefleetError):
    """Something is not as a deploy needs it; the message says what it is and what would do."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was asked for; `wrong` is empty where it is there."""

    what: str
    wrong: str = ""


def vcpus_needed(fleet: FleetConfig) -> int:
    """The quota: in a rollout each node may drain beside its successor, and all may be of the largest type."""
    largest = max(_VCPUS[name.partition(".")[2]] for name in fleet.instance_types)
    return 2 * fleet.max_nodes * largest + _BUILD_VCPUS


def preflight(environment: Environment, client: Client) -> Iterator[Finding]:
    """Ask for everything that this environment needs in its region."""
    checks = {
        "the account is bootstrapped for the CDK": _bootstrapped,
        f"the quota of vCPUs for GPU instances ({GPU_QUOTA})": _quota,
        "each zone has one of the instance types": _types_in_zones,
        "each zone has AWS's endpoints": _endpoints_in_zones,
        "the certificate": _certificate,
        "the image": _image,
        "the language models": _language_models,
        "protection comes after the first deploy": _protected_once_there,
    }
    for what, check in checks.items():
        try:
            check(environment, client)
            yield Finding(what)
        except (_Lacking, ClientError, BotoCoreError) as error:
            yield Finding(what, str(error))


def _bootstrapped(environment: Environment, client: Client) -> None:
    try:
        client("ssm", environment.region).get_parameter(Name="/cdk-bootstrap/hnb659fds/version")
    except ClientError as error:
        raise _Lacking(f"{error}; run cdk bootstrap (docs/deploy.md)") from error


def _quota(environment: Environment, client: Client) -> None:
    quotas = client("service-quotas", environment.region)
    granted = quotas.get_service_quota(ServiceCode="ec2", QuotaCode=GPU_QUOTA)["Quota"]["Value"]
    needed = vcpus_needed(environment.fleet)
    if granted < needed:
        raise _Lacking(f"{granted:.0f} are granted; takes {needed} for fleet.max_nodes, or fewer nodes")


def _types_in_zones(environment: Environment, client: Client) -> None:
    if environment.network.vpc_id:
        return  # its subnets say where
    pages = (
        client("ec2", environment.region)
        .get_paginator("describe_instance_type_offerings")
        .paginate(
            LocationType="availability-zone",
            Filters=[{"Name": "instance-type", "Values": list(environment.fleet.instance_types)}],
        )
    )
    offered = {offer["Location"] for page in pages for offer in page["InstanceTypeOfferings"]}
    _all_zones(environment, offered, "fleet.instance_types")


def _endpoints_in_zones(environment: Environment, client: Client) -> None:
    network = environment.network
    if network.vpc_id or not network.interface_endpoints:
        return
    ec2 = client("ec2", environment.region)
    names = [f"com.amazonaws.{environment.region}.{service}" for service in ENDPOINTS.values()]
    for service in ec2.describe_vpc_endpoint_services(ServiceNames=names)["ServiceDetails"]:
        _all_zones(environment, set(service["AvailabilityZones"]), service["ServiceName"])


def _all_zones(environment: Environment, found: set[str], what: str) -> None:
    if lacking := sorted(set(environment.zones) - found):
        raise _Lacking(f"{', '.join(lacking)} without {what}; network.zones takes of {', '.join(sorted(found))}")


def _certificate(environment: Environment, client: Client) -> None:
    arn = environment.load_balancer.certificate_arn
    found = client("acm", environment.region).describe_certificate(CertificateArn=arn)["Certificate"]
    if found["Status"] != "ISSUED":
        raise _Lacking(f"is {found['Status']}; takes one that is ISSUED, once AWS has seen its record in your DNS")


def _image(environment: Environment, client: Client) -> None:
    parameter = client("ssm", environment.region).get_parameter(Name=environment.fleet.ami_parameter)
    image = parameter["Parameter"]["Value"]
    client("ec2", environment.region).describe_images(ImageIds=[image])


def _language_models(environment: Environment, client: Client) -> None:
    for region, models in environment.node.bedrock_models(environment.region).items():
        for model in sorted(models):
            hello = [{"role": "user", "content": [{"text": "Hello"}]}]
            try:
                client("bedrock-runtime", region).converse(
                    modelId=model, messages=hello, inferenceConfig={"maxTokens": 1}
                )
            except ClientError as error:
                raise _Lacking(f"{model} in {region}: {error}") from error


def _protected_once_there(environment: Environment, client: Client) -> None:
    if not environment.production:
        return
    stacks = client("cloudformation", environment.region)
    try:
        stacks.describe_stacks(StackName=f"{environment.fleet_name}-fleet")
    except ClientError as error:
        raise _Lacking("there is no fleet yet; takes production false: a first deploy that fails is deleted") from error


def main(
    env: Annotated[str, typer.Argument(help="An environment of cdk.json.")],
    region: Annotated[str, typer.Option(help="One of its regions alone.")] = "",
) -> None:
    """Ask the account for what a deploy of an environment needs."""
    context = json.loads(Path("cdk.json").read_text(encoding="utf-8"))["context"]
    account = boto3.client("sts").get_caller_identity()["Account"]
    try:
        environments = load_environments(context["environments"], env, account)
    except ConfigError as error:
        sys.exit(str(error))
    failed = False
    for environment in environments:
        if region in ("", environment.region):
            for finding in preflight(environment, lambda service, place: boto3.client(service, region_name=place)):
                failed = failed or bool(finding.wrong)
                typer.echo(f"{'WRONG' if finding.wrong else 'ok   '} {environment.region}: {finding.what}")
                if finding.wrong:
                    typer.echo(f"      {finding.wrong}")
    raise typer.Exit(failed)


if __name__ == "__main__":
    typer.run(main)
