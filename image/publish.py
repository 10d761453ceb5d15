"""Puts the id of the image that Packer has built last where the CDK app reads it, once the image asks for IMDSv2.

    python image/publish.py MANIFEST PARAMETER

Region and credentials are those of the AWS SDK. The nodes that there are keep their image until the next deploy.
"""

import argparse
import json
from pathlib import Path

import boto3


def built_image(manifest: Path) -> tuple[str, str]:
    """Region and id of the image. Raises `ValueError` if the last build made none or several."""
    content = json.loads(manifest.read_text(encoding="utf-8"))
    built = [
        build["artifact_id"] for build in content["builds"] if build["packer_run_uuid"] == content["last_run_uuid"]
    ]
    if len(built) != 1 or built[0].count(":") != 1:
        raise ValueError(f"{manifest}: one image in one region was expected; got {', '.join(built) or 'none'}")
    region, _, image = built[0].partition(":")
    return region, image


def main() -> None:
    """Put the parameter, and say so."""
    parser = argparse.ArgumentParser(description="Tell the CDK app which image Packer has built.")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("parameter")
    arguments = parser.parse_args()
    region, image = built_image(arguments.manifest)
    boto3.client("ec2", region_name=region).modify_image_attribute(ImageId=image, ImdsSupport={"Value": "v2.0"})
    boto3.client("ssm", region_name=region).put_parameter(
        Name=arguments.parameter, Value=image, Type="String", DataType="aws:ec2:image", Overwrite=True
    )
    print(f"{arguments.parameter} ({region}) = {image}")


if __name__ == "__main__":
    main()
