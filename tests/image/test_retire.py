"""`image/retire.py`: old images and their snapshots go, and none that a node may start from."""

from collections.abc import Iterator
from datetime import UTC, datetime

import boto3
import pytest
from moto import mock_aws
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends

from image.retire import retire
from tests.support.cloud.account import REGION


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[boto3.session.Session]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield boto3.session.Session(region_name=REGION)


@pytest.fixture
def images(session: boto3.session.Session) -> list[str]:
    """Eight images for prod, oldest first; the newest is in the parameter."""
    made = [image_of(session, "prod", day) for day in range(1, 9)]
    session.client("ssm").put_parameter(Name="/voicefleet/prod/ami", Value=made[-1], Type="String")
    return made


def image_of(session: boto3.session.Session, environment: str, day: int) -> str:
    """As Packer leaves one, and its machine gone."""
    ec2 = session.client("ec2")
    instance = ec2.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    image = str(ec2.create_image(InstanceId=instance, Name=f"voicefleet-{environment}-{day}")["ImageId"])
    ec2.terminate_instances(InstanceIds=[instance])
    ec2.create_tags(
        Resources=[image, snapshot_of(session, image)], Tags=[{"Key": "voicefleet:env", "Value": environment}]
    )
    ec2_backends[DEFAULT_ACCOUNT_ID][REGION].amis[image].creation_date = datetime(2026, 11, day, tzinfo=UTC)
    return image


def snapshot_of(session: boto3.session.Session, image: str) -> str:
    (found,) = session.client("ec2").describe_images(ImageIds=[image])["Images"]
    return str(found["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"])


def left(session: boto3.session.Session) -> list[str]:
    return [image["ImageId"] for image in session.client("ec2").describe_images(Owners=["self"])["Images"]]


def test_the_newest_stay_and_older_ones_go_with_their_snapshots(
    session: boto3.session.Session, images: list[str]
) -> None:
    others = image_of(session, "dev", 1)
    gone = {*images[:3], *(snapshot_of(session, image) for image in images[:3])}
    assert set(retire(session, "prod")) == gone
    assert set(left(session)) == {*images[3:], others}
    assert retire(session, "prod") == []
    snapshots = session.client("ec2").describe_snapshots(OwnerIds=["self"])["Snapshots"]
    assert not gone & {snapshot["SnapshotId"] for snapshot in snapshots}


def test_what_a_node_may_start_from_stays_however_old_it_is(session: boto3.session.Session, images: list[str]) -> None:
    ec2 = session.client("ec2")
    ec2.create_launch_template(LaunchTemplateName="fleet", LaunchTemplateData={"ImageId": images[0]})
    ec2.run_instances(ImageId=images[1], MinCount=1, MaxCount=1)
    session.client("ssm").put_parameter(Name="/voicefleet/prod/ami", Value=images[2], Type="String", Overwrite=True)
    retire(session, "prod", keep=2)
    assert set(left(session)) == {*images[:3], *images[-2:]}


def test_a_snapshot_that_was_left_behind_goes_the_next_time(session: boto3.session.Session, images: list[str]) -> None:
    snapshot = snapshot_of(session, images[0])
    session.client("ec2").deregister_image(ImageId=images[0])
    assert snapshot in retire(session, "prod")
