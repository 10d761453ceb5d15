"""Removes an environment's images that nobody will go back to, and their snapshots, which cost money.

    python image/retire.py REGION ENVIRONMENT [--keep 5]

It keeps the newest, the one in the parameter, and whatever an instance or a launch template was made from. It knows its
own by the tag `voicefleet:env`, which Packer sets on images and snapshots. No service of AWS would do it: those that
retire images (Data Lifecycle Manager, Image Builder) do so with the ones that they have made themselves.
"""

import argparse
from typing import Any

import boto3

KEPT = 5
_TAG = "voicefleet:env"


def retire(session: boto3.session.Session, environment: str, keep: int = KEPT) -> list[str]:
    """Deregister the images, delete the snapshots that no image is left of; gives the ids of both.

    Raises botocore's `ClientError`; what was not reached then is the next call's.
    """
    ec2 = session.client("ec2")
    ours = [{"Name": f"tag:{_TAG}", "Values": [environment]}]
    images = ec2.describe_images(Owners=["self"], Filters=ours)["Images"]
    images.sort(key=lambda image: str(image["CreationDate"]), reverse=True)
    needed = _in_use(session, environment) | {image["ImageId"] for image in images[:keep]}
    retired = [image["ImageId"] for image in images if image["ImageId"] not in needed]
    for image in retired:
        ec2.deregister_image(ImageId=image)
    kept = {
        mapping["Ebs"]["SnapshotId"]
        for image in images
        if image["ImageId"] in needed
        for mapping in image["BlockDeviceMappings"]
        if "SnapshotId" in mapping.get("Ebs", {})
    }
    for page in ec2.get_paginator("describe_snapshots").paginate(OwnerIds=["self"], Filters=ours):
        for snapshot in page["Snapshots"]:
            if snapshot["SnapshotId"] not in kept:
                ec2.delete_snapshot(SnapshotId=snapshot["SnapshotId"])
                retired.append(snapshot["SnapshotId"])
    return retired


def _in_use(session: boto3.session.Session, environment: str) -> set[str]:
    """Images that a node has been, or may be, started from."""
    ec2, ssm = session.client("ec2"), session.client("ssm")
    used: set[str] = {ssm.get_parameter(Name=f"/voicefleet/{environment}/ami")["Parameter"]["Value"]}
    for page in ec2.get_paginator("describe_instances").paginate():
        used |= {_image_of(instance) for group in page["Reservations"] for instance in group["Instances"]}
    templates = ec2.get_paginator("describe_launch_template_versions")
    for page in templates.paginate(Versions=["$Latest", "$Default"]):
        used |= {_image_of(version["LaunchTemplateData"]) for version in page["LaunchTemplateVersions"]}
    return used


def _image_of(made_from: dict[str, Any]) -> str:
    return str(made_from.get("ImageId", ""))


def main() -> None:
    """Retire them, and say which."""
    parser = argparse.ArgumentParser(description="Remove an environment's images that nobody will go back to.")
    parser.add_argument("region")
    parser.add_argument("environment")
    parser.add_argument("--keep", type=int, default=KEPT, help="how many of the newest stay; default: %(default)d")
    arguments = parser.parse_args()
    session = boto3.session.Session(region_name=arguments.region)
    retired = retire(session, arguments.environment, arguments.keep)
    print(f"retired: {', '.join(retired) or 'nothing'}")


if __name__ == "__main__":
    main()
