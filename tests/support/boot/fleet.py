"""The fleet whose instances are booted: deployed by the real `cdk` to AWS on loopback, with models and a key."""

import json
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from server.access.auth import new_api_key
from server.models.catalogue import load_catalogue
from server.models.store import ModelStore
from server.settings.settings import Settings
from tests.support.bedrock_standin import BedrockStandin
from tests.support.cloud.deploy import running_cloud
from tests.support.cloud.deployed import Deployed, fleet_of
from tests.support.file_server import FileServer, serving
from tests.support.in_thread import in_thread

MODELS = ("silero-vad", "smart-turn-v3.2", "tiny.en", "hibari-heart", "smollm2-135m")
ANSWER = "It is Paris."


@dataclass
class Fleet:
    """The fleet, a key that callers may use, a model hub that has nothing, and Bedrock, which knows one answer."""

    deployed: Deployed
    key: str
    hub: FileServer
    bedrock: BedrockStandin

    @property
    def bucket(self) -> str:
        return self.deployed.outputs["ModelBucket"]

    def object(self, model: str, file: str) -> dict[str, str]:
        """Where a model's file lies in S3."""
        return {"Bucket": self.bucket, "Key": f"models/{model}/{file}"}

    def waiting(self) -> str:
        """The id of an instance that Auto Scaling has launched and that has not joined."""
        return next(
            str(one["InstanceId"])
            for one in self.deployed.group()["Instances"]
            if one["LifecycleState"] == "Pending:Wait"
        )

    def user_data(self, instance: str) -> str:
        """What the stack gave that instance to run."""
        attribute = self.deployed.client("ec2").describe_instance_attribute(InstanceId=instance, Attribute="userData")
        return b64decode(attribute["UserData"]["Value"]).decode()


@contextmanager
def deployed_fleet(home: Path) -> Iterator[Fleet]:
    """A fleet of instances that have been launched and wait for a node, until the block ends."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("S3_IGNORE_SUBDOMAIN_BUCKETNAME", "true")  # a machine calls S3 by an address
        with (
            running_cloud(home) as cloud,
            serving(FileServer({})) as hub,
            in_thread(BedrockStandin(answer=lambda _: ANSWER)) as bedrock,
        ):
            cloud.bootstrap()
            deployed = fleet_of(cloud)
            deployed.environment["node"] = {}  # models that a CPU can run
            deployed.environment["fleet"] |= {"min_nodes": 3}
            deployed.deploy()
            fleet = Fleet(deployed, _put_key(deployed), hub, bedrock)
            _put_models(fleet)
            yield fleet


def _put_key(deployed: Deployed) -> str:
    key, hashed = new_api_key()
    deployed.client("secretsmanager").put_secret_value(
        SecretId=deployed.outputs["KeysSecret"], SecretString=json.dumps({"api_keys": hashed, "token_secret": ""})
    )
    return key


def _put_models(fleet: Fleet) -> None:
    store, s3 = ModelStore.from_settings(Settings()), fleet.deployed.client("s3")
    for model in MODELS:
        folder = store.pull(model)
        for file in load_catalogue()[model].files:
            s3.upload_file(str(folder / file.path), *fleet.object(model, file.path).values())
