"""Lets an instance answer only IMDSv2, with tokens that leave it by no hop.

    python image/require_imdsv2.py REGION INSTANCE

For the machine that Packer builds on: Packer 1.6 cannot ask for it when it starts one.
"""

import argparse

import boto3


def main() -> None:
    """Change the running instance."""
    parser = argparse.ArgumentParser(description="Let an instance answer only IMDSv2.")
    parser.add_argument("region")
    parser.add_argument("instance")
    arguments = parser.parse_args()
    boto3.client("ec2", region_name=arguments.region).modify_instance_metadata_options(
        InstanceId=arguments.instance, HttpTokens="required", HttpPutResponseHopLimit=1, HttpEndpoint="enabled"
    )


if __name__ == "__main__":
    main()
