"""The resource types of S3 and Secrets Manager that moto lacks, or makes with less than the template says."""

import json
import re
from collections.abc import Callable
from typing import Any

from tests.support.cloud.api import Parameters
from tests.support.cloud.resource import Resource


class Bucket(Resource):
    """A bucket; each of its properties is an operation of its own."""

    type = "AWS::S3::Bucket"
    name_property = "BucketName"

    def create(self) -> None:
        """Make it, then set its properties. S3 takes small letters."""
        self.name = self.physical_resource_id = self.properties.get("BucketName", self.name.lower())
        self.api.call("s3", "CreateBucket", Bucket=self.name)
        self._put_properties()

    def update(self, before: Parameters) -> None:
        """Set them again. Raises `ValueError` for one that is taken away."""
        if gone := before.keys() - self.properties.keys():
            raise ValueError(f"taking {', '.join(sorted(gone))} away from a bucket is not handled here")
        self._put_properties()

    def remove(self) -> None:
        """Delete it, which takes an empty one."""
        self.api.call("s3", "DeleteBucket", Bucket=self.name)

    def attribute(self, name: str) -> Any:
        """Its ARN and its names."""
        return {
            "Arn": f"arn:aws:s3:::{self.name}",
            "DomainName": f"{self.name}.s3.amazonaws.com",
            "RegionalDomainName": f"{self.name}.s3.{self.region}.amazonaws.com",
        }[name]

    def _put_properties(self) -> None:
        for name, value in self.properties.items():
            if name != self.name_property:
                operation, parameters = _BUCKET_PROPERTIES[name](value)
                self.api.call("s3", operation, Bucket=self.name, **parameters)


class BucketPolicy(Resource):
    """What may be done with a bucket, and how."""

    type = "AWS::S3::BucketPolicy"

    def create(self) -> None:
        """Put it."""
        policy = json.dumps(self.properties["PolicyDocument"])
        self.api.call("s3", "PutBucketPolicy", Bucket=self.properties["Bucket"], Policy=policy)

    def remove(self) -> None:
        """Delete it."""
        self.api.call("s3", "DeleteBucketPolicy", Bucket=self.properties["Bucket"])


class Secret(Resource):
    """A secret: given, or made at random. Ref is its ARN."""

    type = "AWS::SecretsManager::Secret"
    name_property = "Name"

    def create(self) -> None:
        """Make it; what is random is made once."""
        parameters = self._parameters()
        if wanted := self.properties.get("GenerateSecretString"):
            parameters["SecretString"] = self._generated(dict(wanted))
        made = self.api.call("secretsmanager", "CreateSecret", **parameters | {"Name": self.name})
        self.physical_resource_id = made["ARN"]

    def update(self, before: Parameters) -> None:
        """Its value stays, unless the template gives it."""
        parameters = {key: value for key, value in self._parameters().items() if key not in ("Name", "Tags")}
        self.api.call("secretsmanager", "UpdateSecret", SecretId=self.physical_resource_id, **parameters)

    def remove(self) -> None:
        """At once."""
        self.api.call(
            "secretsmanager", "DeleteSecret", SecretId=self.physical_resource_id, ForceDeleteWithoutRecovery=True
        )

    def attribute(self, name: str) -> Any:
        """Its ARN."""
        return {"Id": self.physical_resource_id}[name]

    def _parameters(self) -> Parameters:
        return {key: value for key, value in self.properties.items() if key != "GenerateSecretString"}

    def _generated(self, wanted: Parameters) -> str:
        template, key = wanted.pop("SecretStringTemplate", None), wanted.pop("GenerateStringKey", None)
        word: str = self.api.call("secretsmanager", "GetRandomPassword", **wanted)["RandomPassword"]
        return json.dumps(json.loads(template) | {key: word}) if key else word


Operation = tuple[str, Parameters]


def _encryption(configuration: Parameters) -> Operation:
    rules = [
        {
            "ApplyServerSideEncryptionByDefault" if key == "ServerSideEncryptionByDefault" else key: value
            for key, value in rule.items()
        }
        for rule in configuration["ServerSideEncryptionConfiguration"]
    ]
    return "PutBucketEncryption", {"ServerSideEncryptionConfiguration": {"Rules": rules}}


def _lifecycle(configuration: Parameters) -> Operation:
    rules = [_lifecycle_rule(dict(rule)) for rule in configuration["Rules"]]
    return "PutBucketLifecycleConfiguration", {"LifecycleConfiguration": {"Rules": rules}}


def _lifecycle_rule(rule: Parameters) -> Parameters:
    named: Parameters = {"Filter": {"Prefix": rule.pop("Prefix", "")}}
    if "Id" in rule:
        named["ID"] = rule.pop("Id")
    if "ExpirationInDays" in rule:
        named["Expiration"] = {"Days": rule.pop("ExpirationInDays")}
    return rule | named


def _logging(configuration: Parameters) -> Operation:
    enabled = {
        "TargetBucket": configuration["DestinationBucketName"],
        "TargetPrefix": configuration.get("LogFilePrefix", ""),
    }
    return "PutBucketLogging", {"BucketLoggingStatus": {"LoggingEnabled": enabled}}


# What the operation and its parameters are for a property as templates write it.
_BUCKET_PROPERTIES: dict[str, Callable[[Any], Operation]] = {
    "AccessControl": lambda value: ("PutBucketAcl", {"ACL": re.sub(r"(?<!^)(?=[A-Z])", "-", value).lower()}),
    "BucketEncryption": _encryption,
    "LifecycleConfiguration": _lifecycle,
    "LoggingConfiguration": _logging,
    "OwnershipControls": lambda value: ("PutBucketOwnershipControls", {"OwnershipControls": value}),
    "PublicAccessBlockConfiguration": lambda value: (
        "PutPublicAccessBlock",
        {"PublicAccessBlockConfiguration": value},
    ),
    "Tags": lambda value: ("PutBucketTagging", {"Tagging": {"TagSet": value}}),
    "VersioningConfiguration": lambda value: ("PutBucketVersioning", {"VersioningConfiguration": value}),
}

RESOURCES = (Bucket, BucketPolicy, Secret)
