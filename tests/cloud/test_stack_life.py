"""A deploy that fails, its repair, an update that fails and a tear-down, by the real CLI against AWS on loopback.

One story, in the order of the tests: each begins where the one before has ended.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.cloud.assembly import assembly
from tests.support.cloud.deploy import CdkFailed, Cloud, running_cloud
from tests.support.cloud.deployed import AMI_PARAMETER, FIRST_IMAGE, PARTS

GROUP = "voicefleet-prod"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """An account that has been bootstrapped and has an image."""
    with running_cloud(tmp_path_factory.mktemp("cloud")) as running:
        running.bootstrap()
        running.client("ssm").put_parameter(Name=AMI_PARAMETER, Value=FIRST_IMAGE, Type="String")
        yield running


@pytest.fixture(scope="module")
def app(cloud: Cloud) -> Path:
    """What the app makes of a certificate that the account has."""
    return assembly("prod", certificate=cloud.import_certificate("voice.example.com"))


def status(cloud: Cloud, part: str) -> str:
    """Of a stack; empty where there is none."""
    try:
        described = cloud.client("cloudformation").describe_stacks(StackName=f"{GROUP}-{part}")
    except ClientError:
        return ""
    return str(described["Stacks"][0]["StackStatus"])


def buckets(cloud: Cloud) -> set[str]:
    return {one["Name"] for one in cloud.client("s3").list_buckets()["Buckets"] if one["Name"].startswith(GROUP)}


def nodes(cloud: Cloud) -> list[dict[str, Any]]:
    groups = cloud.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])
    return [node for group in groups["AutoScalingGroups"] for node in group["Instances"]]


def deploy(cloud: Cloud, app: Path, *arguments: str) -> None:
    cloud.cdk("deploy", "--app", str(app), "--all", "--require-approval", "never", *arguments)


def test_a_first_deploy_that_fails_leaves_nothing_of_the_stack_that_failed(cloud: Cloud, app: Path) -> None:
    secrets = cloud.client("secretsmanager")
    secrets.create_secret(Name="voicefleet/prod/keys", SecretString="of an environment before")
    with pytest.raises(CdkFailed, match="already exists"):
        deploy(cloud, app)
    assert [status(cloud, part) for part in PARTS] == ["ROLLBACK_COMPLETE", "", "", ""]
    assert buckets(cloud) == set(), "what outlives a stack does so only once it has been made"
    secrets.delete_secret(SecretId="voicefleet/prod/keys", ForceDeleteWithoutRecovery=True)


def test_a_certificate_that_is_not_there_stops_the_network_and_no_key_or_model_is_lost(cloud: Cloud) -> None:
    with pytest.raises(CdkFailed, match="Certificate"):
        deploy(cloud, assembly("prod"))  # with the one of cdk.json
    assert [status(cloud, part) for part in PARTS] == ["CREATE_COMPLETE", "ROLLBACK_COMPLETE", "", ""]
    assert cloud.client("elbv2").describe_load_balancers()["LoadBalancers"] == []
    assert len(buckets(cloud)) == 2


def test_the_same_command_repairs_it(cloud: Cloud, app: Path) -> None:
    before = buckets(cloud)
    deploy(cloud, app)
    assert [status(cloud, part) for part in PARTS] == ["CREATE_COMPLETE"] * 4
    assert buckets(cloud) == before
    assert len(nodes(cloud)) == 2


def test_an_update_that_fails_goes_back_to_what_was_there(cloud: Cloud) -> None:
    elb = cloud.client("elbv2")

    def listeners() -> list[tuple[int, list[dict[str, str]]]]:
        (balancer,) = elb.describe_load_balancers()["LoadBalancers"]
        found = elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
        return [(one["Port"], one.get("Certificates", [])) for one in found]

    before = listeners()
    with pytest.raises(CdkFailed, match="UPDATE_ROLLBACK_COMPLETE"):
        deploy(cloud, assembly("prod"), "--method", "direct")
    assert status(cloud, "network") == "UPDATE_ROLLBACK_COMPLETE"
    assert status(cloud, "fleet") == "CREATE_COMPLETE", "no stack after it is touched"
    assert listeners() == before


def test_a_fleet_whose_nodes_have_calls_is_not_destroyed_before_its_group_is_gone(cloud: Cloud, app: Path) -> None:
    autoscaling = cloud.client("autoscaling")
    names = [node["InstanceId"] for node in nodes(cloud)]
    for name in names:
        autoscaling.complete_lifecycle_action(
            AutoScalingGroupName=GROUP,
            LifecycleHookName="voicefleet-join",
            InstanceId=name,
            LifecycleActionResult="CONTINUE",
        )
    autoscaling.set_instance_protection(AutoScalingGroupName=GROUP, InstanceIds=names, ProtectedFromScaleIn=True)
    with pytest.raises(CdkFailed, match="protected from scale-in"):
        destroy(cloud, app)
    assert status(cloud, "fleet") == "DELETE_FAILED"
    assert status(cloud, "network") == "UPDATE_ROLLBACK_COMPLETE", "what the nodes stand in goes after them"

    words = ["delete-auto-scaling-group", "--auto-scaling-group-name", GROUP, "--force-delete"]  # docs/deploy.md
    command = [sys.executable, "-m", "tests.support.cloud.aws_cli", "autoscaling", *words]
    subprocess.run(command, env=cloud.variables, check=True)
    destroy(cloud, app)
    assert [status(cloud, part) for part in PARTS] == [""] * 4
    assert len(buckets(cloud)) == 2, "models and access logs stay"
    assert cloud.client("elbv2").describe_load_balancers()["LoadBalancers"] == []


def destroy(cloud: Cloud, app: Path) -> None:
    cloud.cdk("destroy", "--app", str(app), "--all", "--force")
