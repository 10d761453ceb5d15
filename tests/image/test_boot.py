"""The image boots: a root disk made by its own scripts, on the instances of a fleet that the real `cdk` has deployed.

Everything on the machine is real: user data, units, disks, models, speech. AWS is on the host's loopback. It takes
minutes (`make boot`).
"""

import re
import subprocess
import time
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from infra.metrics import MODEL_CACHE, Boot
from server.audio.wav import read_wav
from server.client.caller import WIRE_RATE
from server.client.playout import last_audible
from server.models.catalogue import Hub, load_catalogue
from server.models.store import ModelStore
from server.node.auth import new_api_key
from server.settings import Settings
from tests.support.boot.machine import AWS, HUB, IMDS, Machine, blank_disk, running_machine
from tests.support.boot.root_disk import ROOT, RootDisk, root_disk
from tests.support.boot.timeline import Timeline, record
from tests.support.cloud.account import REGION
from tests.support.cloud.deploy import running_cloud
from tests.support.cloud.deployed import Deployed, fleet_of
from tests.support.file_server import FileServer, serving
from tests.support.fleet import Instance
from tests.support.imds import fake_imds
from tests.support.live_call import answer_text, live_call

pytestmark = pytest.mark.boot

MODELS = ("silero-vad", "tiny.en", "hibari-heart", "smollm2-135m")
BOOT_SECONDS = 1500.0  # of this host's: what takes a minute on a g5 takes a while under emulation
ANSWER_SECONDS = 900.0
QUESTION = ROOT / "server/demo/question.wav"
UNITS = ("cache", "stt", "tts", "logs")


@pytest.fixture(scope="module")
def disk() -> RootDisk:
    return root_disk()


@dataclass
class Fleet:
    """The fleet with models in its bucket and a key that callers may use."""

    deployed: Deployed
    key: str
    hub: FileServer

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


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("S3_IGNORE_SUBDOMAIN_BUCKETNAME", "true")  # the machine calls it by an address
        with running_cloud(tmp_path_factory.mktemp("cloud")) as cloud, serving(FileServer({})) as hub:
            cloud.bootstrap()
            deployed = fleet_of(cloud)
            deployed.environment["node"] = {}  # models that a CPU can run
            deployed.environment["fleet"] |= {"min_nodes": 3}
            deployed.deploy()
            key, hashed = new_api_key()
            secrets = deployed.client("secretsmanager")
            secrets.put_secret_value(
                SecretId=deployed.outputs["KeysSecret"], SecretString=f'{{"api_keys": "{hashed}", "token_secret": ""}}'
            )
            fleet = Fleet(deployed, key, hub)
            store = ModelStore.from_settings(Settings())
            for model in MODELS:
                folder = store.pull(model)
                for file in load_catalogue()[model].files:
                    deployed.client("s3").upload_file(str(folder / file.path), *fleet.object(model, file.path).values())
            yield fleet


@dataclass
class Booted:
    """A node's machine, and its instance as AWS sees it."""

    machine: Machine
    instance: Instance
    started: float

    def until_ready(self, name: str) -> Timeline:
        """Wait until it takes calls; its boot goes into the table at the end under that name."""
        deadline = time.monotonic() + BOOT_SECONDS
        while self.machine.get("/ready")[0] != 200:
            assert time.monotonic() < deadline, f"{name}: not ready\n{self.machine.console[-3000:]}\n{self.journal()}"
            time.sleep(2)
        host_seconds = time.monotonic() - self.started
        self.until("systemctl is-active voicefleet-boot-report.service")
        return record(name, self.machine, host_seconds)

    def until(self, command: str, seconds: float = 300.0) -> str:
        """Wait until a command in the machine succeeds; gives what it wrote."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self.machine.run(command)
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(2)

    def journal(self) -> str:
        return self.machine.run("journalctl --boot --no-pager --output=cat --unit='voicefleet*' | tail -80")

    def metric(self, name: str) -> str:
        """A sample's value as node_exporter serves it."""
        return self.machine.run(f"curl --silent 127.0.0.1:9100/metrics | sed -n 's/^{name} //p'").strip()

    def cache(self) -> dict[str, str]:
        """What is mounted where the models lie."""
        found = self.machine.run(f"findmnt --noheadings --raw --output FSTYPE,SOURCE --target {MODEL_CACHE}")
        kind, source = found.split()
        return {"type": kind, "source": source}

    def hashes(self, *models: str) -> dict[str, str]:
        """SHA-256 of the models' files, computed in the machine, by path."""
        lines = self.machine.run(
            f"cd {MODEL_CACHE}/models && sha256sum $(find {' '.join(models)} -type f)"
        ).splitlines()
        return {path: sha256 for sha256, path in (line.split() for line in lines)}


def expected_hashes(*models: str) -> dict[str, str]:
    return {f"{model}/{file.path}": file.sha256 for model in models for file in load_catalogue()[model].files}


@contextmanager
def booted(
    fleet: Fleet, disk: RootDisk, folder: Path, nvme: list[Path], settings: Mapping[str, str] | None = None
) -> Iterator[Booted]:
    """Boot an instance of the fleet with its own user data, in which `settings` replace what the stack chose."""
    with fake_imds(instance_id=fleet.waiting(), region=REGION) as imds:
        imds.user_data = fleet.user_data(imds.instance_id)
        for name, value in (settings or {}).items():
            imds.user_data, count = re.subn(rf"^{name}=.*$", f"{name}={value}", imds.user_data, flags=re.MULTILINE)
            assert count == 1
        services = {IMDS: imds.url, AWS: fleet.deployed.cloud.url, HUB: fleet.hub.url}
        ports = {address: int(url.rpartition(":")[2]) for address, url in services.items()}
        started = time.monotonic()
        with running_machine(disk, folder, nvme=nvme, services=ports) as machine:
            instance = Instance(fleet.deployed.cloud, fleet.deployed.name, imds.instance_id, imds)
            yield Booted(machine, instance, started)


def test_provisioning_left_the_root_lean(disk: RootDisk) -> None:
    assert "of 12 GB used: lean" in disk.log


# --- two disks, and the embedded language model


@pytest.fixture(scope="module")
def two_disks(fleet: Fleet, disk: RootDisk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booted]:
    """A node that has booted for the first time."""
    folder = tmp_path_factory.mktemp("two")
    nvme = [blank_disk(folder / f"nvme{number}.img") for number in range(2)]
    with booted(fleet, disk, folder, nvme, {"VOICE_LLM": "local"}) as node:
        node.until_ready("first boot, two disks")
        yield node


def test_two_disks_become_one_file_system_that_holds_models_with_the_right_hashes(two_disks: Booted) -> None:
    assert two_disks.cache()["type"] == "xfs"
    level = two_disks.machine.run(f"mdadm --detail {two_disks.cache()['source']}")
    assert re.search(r"Raid Level : raid0", level)
    assert re.search(r"Raid Devices : 2", level)
    assert two_disks.hashes(*MODELS) == expected_hashes(*MODELS)
    assert two_disks.metric(Boot.CACHE_ON_ROOT) == "0"


def test_its_units_are_active_each_as_its_own_user_who_is_not_root(two_disks: Booted) -> None:
    units = [
        "voicefleet.service",
        *(f"voicefleet-{unit}.service" for unit in UNITS),
        "prometheus-node-exporter.service",
    ]
    active = two_disks.machine.run(f"systemctl is-active {' '.join(units)}").split()
    assert active == ["active"] * len(units)
    assert two_disks.machine.run("systemctl list-units --failed --plain --no-legend") == ""
    users = two_disks.machine.run("ps -e -o user:32= -o args= | grep /opt/voicefleet/bin | grep -v grep")
    assert {line.split()[0] for line in users.splitlines()} == {"voicefleet", "voicefleet-stt", "voicefleet-tts"}


def test_it_is_in_service_once_it_has_spoken(two_disks: Booted) -> None:
    deadline = time.monotonic() + 300
    while two_disks.instance.state != "InService":
        assert time.monotonic() < deadline, two_disks.journal()
        time.sleep(1)


async def test_a_call_over_the_forwarded_port_is_answered_with_speech(fleet: Fleet, two_disks: Booted) -> None:
    headers = {"Authorization": f"Bearer {fleet.key}"}
    url, waits = two_disks.machine.websocket, ANSWER_SECONDS
    async with live_call(url, patience=waits, open_timeout=waits, additional_headers=headers) as caller:
        # And then no more frames: to a machine whose clock is slow, a caller in real time is ten at once.
        question, rate = read_wav(QUESTION)
        assert rate == WIRE_RATE
        await caller.say(question.tobytes())
        answer = (await caller.until("response.done"))["response"]
    heard = [event["transcript"] for event in caller.events if event["type"].endswith("transcription.completed")]
    audio = b"".join(
        b64decode(event["delta"]) for event in caller.events if event["type"] == "response.output_audio.delta"
    )
    assert answer["status"] == "completed", answer
    assert "capital" in " ".join(heard).lower()
    assert answer_text(answer)
    assert last_audible(np.frombuffer(audio, "<i2")) > WIRE_RATE // 2, "half a second of it is to be heard"


def test_no_shell_is_to_be_had_from_outside_and_nothing_dumps_core(two_disks: Booted) -> None:
    listening = two_disks.machine.run("ss --no-header --listening --tcp --numeric | awk '{print $4}'").split()
    reached = {address.rpartition(":")[2] for address in listening if not address.startswith(("127.", "[::1]"))}
    assert reached == {"9000", "9001"}
    assert two_disks.machine.run("systemctl is-enabled ssh.service || true").strip() == "masked"
    assert two_disks.machine.run("cat /proc/sys/kernel/core_pattern").strip() == "|/bin/false"


def test_how_long_each_stage_took_is_served_to_the_agent_and_the_log_has_it(two_disks: Booted) -> None:
    assert float(two_disks.metric(Boot.READY)) > 0
    for stage in ("system", "cache", "models", "stt", "tts", "gateway"):
        assert float(two_disks.metric(f'{Boot.STAGE}{{stage="{stage}"}}')) > 0
    log = two_disks.machine.run("cat /var/log/voicefleet/node.log")
    assert "voice_boot_ready_seconds" in log
    assert '"event": "node_serving"' in log


def test_a_worker_that_is_killed_comes_back_and_the_node_with_it(two_disks: Booted) -> None:
    killed = two_disks.machine.run("systemctl show --value --property=MainPID voicefleet-tts.service").strip()
    two_disks.machine.run(f"kill -KILL {killed}")
    two_disks.until(f"test $(systemctl show --value --property=MainPID voicefleet-tts.service) != {killed}")
    two_disks.until("systemctl is-active voicefleet-tts.service")
    two_disks.until("curl --silent --fail 127.0.0.1:9001/ready")


def test_after_a_reboot_the_disks_are_used_again_and_a_damaged_model_is_mended(two_disks: Booted) -> None:
    file_system = two_disks.machine.run("blkid --match-tag UUID --output value /dev/disk/by-label/voicefleet")
    damaged = f"{MODEL_CACHE}/models/tiny.en/model.bin"
    two_disks.machine.run(f"printf damage | dd of={damaged} bs=1 seek=1000000 conv=notrunc && sync")

    two_disks.started = time.monotonic()
    two_disks.machine.reboot()
    two_disks.until_ready("reboot, a model damaged")

    again = two_disks.machine.run("blkid --match-tag UUID --output value /dev/disk/by-label/voicefleet")
    assert again == file_system
    assert two_disks.cache()["type"] == "xfs"
    assert two_disks.hashes(*MODELS) == expected_hashes(*MODELS)
    fetched = re.findall(r"^fetching (\S+)", two_disks.machine.run("cat /var/log/voicefleet/node.log"), re.MULTILINE)
    assert fetched[-1:] == ["tiny.en/model.bin"]
    assert fetched.count("tiny.en/model.bin") == 2
    assert len(fetched) == len(expected_hashes(*MODELS)) + 1


# --- one disk and somebody else's, and an object that S3 lacks


def test_one_disk_is_taken_anothers_is_left_alone_and_what_s3_lacks_comes_from_the_hub(
    fleet: Fleet, disk: RootDisk, tmp_path: Path
) -> None:
    foreign = blank_disk(tmp_path / "foreign.img")
    make_file_system(foreign)
    before = foreign.read_bytes()[: 1 << 24]
    needed = [model for model in MODELS if model != "smollm2-135m"]  # the stack's own choice is Bedrock
    model, file = load_catalogue()["tiny.en"], "vocabulary.txt"
    missing = fleet.object(model.name, file)
    s3 = fleet.deployed.client("s3")
    content = s3.get_object(**missing)["Body"].read()
    s3.delete_object(**missing)
    hub = next(source for source in model.sources if isinstance(source, Hub))
    path = f"/{hub.repo}/resolve/{hub.revision}/{file}"

    with booted(fleet, disk, tmp_path, [blank_disk(tmp_path / "nvme.img"), foreign]) as node:
        # No source has it: that is told, and tried again for as long as it takes.
        log = "/var/log/voicefleet/node.log"
        node.until(f"grep --quiet 'every source failed' {log}", BOOT_SECONDS)
        node.until(f"test $(grep --count 'Starting voicefleet-models.service' {log}) -gt 1", BOOT_SECONDS)
        assert node.machine.get("/ready")[0] != 200
        told = node.machine.run(f"grep --after-context=3 'every source failed' {log}")
        assert "NoSuchKey" in told
        assert hub.repo in told

        fleet.hub.files[path] = content
        node.until_ready("one disk, an object missing until somebody has it")

        assert node.cache() == {"type": "xfs", "source": "/dev/nvme0n1"}
        assert node.hashes(*needed) == expected_hashes(*needed)
        assert node.metric(Boot.CACHE_ON_ROOT) == "0"
    assert path in [request.path for request in fleet.hub.requests]
    assert foreign.read_bytes()[: 1 << 24] == before
    s3.put_object(**missing, Body=content)


def make_file_system(disk: Path) -> None:
    """As somebody else's disk has."""

    subprocess.run(["mkfs.ext4", "-q", "-L", "data", disk], check=True, timeout=60)


# --- no disk


def test_without_a_disk_models_lie_on_the_root_volume_and_a_metric_warns(
    fleet: Fleet, disk: RootDisk, tmp_path: Path
) -> None:
    with booted(fleet, disk, tmp_path, []) as node:
        node.until_ready("no disk")
        assert node.cache() == {"type": "ext4", "source": "/dev/vda"}
        assert node.metric(Boot.CACHE_ON_ROOT) == "1"
        assert node.hashes("tiny.en") == expected_hashes("tiny.en")
