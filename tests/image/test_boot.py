"""The image boots: a root disk made by its own scripts, on the instances of a fleet that the real `cdk` has deployed.

Everything on the machine is real: user data, units, disks, models, speech. AWS is on the host's loopback. It takes
minutes (`make boot`).
"""

import hashlib
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.metrics import MODEL_CACHE, Boot
from server.client.caller import WIRE_RATE
from server.client.playout import last_audible
from server.models.catalogue import Hub, load_catalogue
from tests.support.boot.fleet import ANSWER, MODELS, Fleet, deployed_fleet
from tests.support.boot.machine import blank_disk
from tests.support.boot.node import BOOT_SECONDS, BootedNode, booted, spoken_question
from tests.support.boot.root_disk import RootDisk, root_disk
from tests.support.documents import REPOSITORY, blocks

pytestmark = pytest.mark.boot

UNITS = ("cache", "stt", "tts", "logs", "gpu-logs")
SERVING = ("voicefleet.service", "voicefleet-stt.service", "voicefleet-tts.service")
RUNBOOK = REPOSITORY / "docs" / "runbook.md"


@pytest.fixture(scope="module")
def disk() -> RootDisk:
    return root_disk()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with deployed_fleet(tmp_path_factory.mktemp("cloud")) as deployed:
        yield deployed


def expected_hashes(*models: str) -> dict[str, str]:
    return {f"{model}/{file.path}": file.sha256 for model in models for file in load_catalogue()[model].files}


def test_provisioning_left_the_root_lean(disk: RootDisk) -> None:
    assert "of 12 GB used: lean" in disk.log


# --- one disk and somebody else's, and an object that S3 lacks


async def test_one_disk_is_taken_anothers_is_left_alone_and_what_s3_lacks_comes_from_the_hub(
    fleet: Fleet, disk: RootDisk, tmp_path: Path
) -> None:
    foreign = somebody_elses_disk(tmp_path / "foreign.img")
    before = sha256_of(foreign)
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
        call = await spoken_question(node, fleet.key)
        assert call.answer == ANSWER
        assert last_audible(call.audio) > WIRE_RATE // 2
    assert path in [request.path for request in fleet.hub.requests]
    assert sha256_of(foreign) == before
    s3.put_object(**missing, Body=content)


def somebody_elses_disk(path: Path) -> Path:
    subprocess.run(["mkfs.ext4", "-q", "-L", "data", blank_disk(path)], check=True, timeout=60)
    return path


def sha256_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


# --- no disk


def test_without_a_disk_models_lie_on_the_root_volume_and_a_metric_warns(
    fleet: Fleet, disk: RootDisk, tmp_path: Path
) -> None:
    with booted(fleet, disk, tmp_path, []) as node:
        node.until_ready("no disk")
        assert node.cache() == {"type": "ext4", "source": "/dev/vda"}
        assert node.metric(Boot.CACHE_ON_ROOT) == "1"
        assert node.hashes("tiny.en") == expected_hashes("tiny.en")


# --- two disks, and the embedded language model: last, as this machine runs to the end of the module


@pytest.fixture(scope="module")
def two_disks(fleet: Fleet, disk: RootDisk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BootedNode]:
    """A node that has booted for the first time."""
    folder = tmp_path_factory.mktemp("two")
    nvme = [blank_disk(folder / f"nvme{number}.img") for number in range(2)]
    with booted(fleet, disk, folder, nvme, {"VOICE_LLM": "local"}) as node:
        node.until_ready("first boot, two disks")
        yield node


def test_two_disks_become_one_file_system_that_holds_models_with_the_right_hashes(two_disks: BootedNode) -> None:
    assert two_disks.cache()["type"] == "xfs"
    level = two_disks.machine.run(f"mdadm --detail {two_disks.cache()['source']}")
    assert re.search(r"Raid Level : raid0", level)
    assert re.search(r"Raid Devices : 2", level)
    assert two_disks.hashes(*MODELS) == expected_hashes(*MODELS)
    assert two_disks.metric(Boot.CACHE_ON_ROOT) == "0"


def test_its_units_are_active_each_as_its_own_user_who_is_not_root(two_disks: BootedNode) -> None:
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


def test_it_is_in_service_once_it_has_spoken(two_disks: BootedNode) -> None:
    deadline = time.monotonic() + 300
    while two_disks.instance.state != "InService":
        assert time.monotonic() < deadline, two_disks.journal()
        time.sleep(1)


async def test_a_call_over_the_forwarded_port_is_answered_with_speech(fleet: Fleet, two_disks: BootedNode) -> None:
    call = await spoken_question(two_disks, fleet.key)
    assert "capital" in call.heard.lower()
    assert call.answer
    assert last_audible(call.audio) > WIRE_RATE // 2, "half a second of it is to be heard"


def test_no_shell_is_to_be_had_from_outside_and_nothing_dumps_core(two_disks: BootedNode) -> None:
    listening = two_disks.machine.run("ss --no-header --listening --tcp --numeric | awk '{print $4}'").split()
    reached = {address.rpartition(":")[2] for address in listening if not address.startswith(("127.", "[::1]"))}
    assert reached == {"9000", "9001"}
    assert two_disks.machine.run("systemctl is-enabled ssh.service || true").strip() == "masked"
    assert two_disks.machine.run("cat /proc/sys/kernel/core_pattern").strip() == "|/bin/false"


def test_the_file_of_variables_is_for_root_and_the_nodes_group(two_disks: BootedNode) -> None:
    assert two_disks.machine.run("stat --format '%a %U %G' /etc/voicefleet/node.env").split() == [
        "640",
        "root",
        "voicefleet",
    ]


def test_how_long_each_stage_took_is_served_to_the_agent_and_the_log_has_it(two_disks: BootedNode) -> None:
    assert float(two_disks.metric(Boot.READY)) > 0
    for stage in ("system", "cache", "models", "stt", "tts", "gateway"):
        assert float(two_disks.metric(f'{Boot.STAGE}{{stage="{stage}"}}')) > 0
    log = two_disks.machine.run("cat /var/log/voicefleet/node.log")
    assert "voice_boot_ready_seconds" in log
    assert '"event": "node_serving"' in log


def test_what_the_gpus_driver_tells_the_kernel_is_in_the_file_that_the_agent_sends(two_disks: BootedNode) -> None:
    xid = "NVRM: Xid (PCI:0000:00:1e): 79, pid=1234, name=python, GPU has fallen off the bus."
    # Of what is written here the journal takes a first word with a colon for the writer's name; of the kernel's, never.
    for line in ("usb 1-1: something else", xid):
        two_disks.machine.run(f"echo 'kernel: {line}' >/dev/kmsg")
    two_disks.until("grep --quiet NVRM /var/log/voicefleet/gpu.log")
    (line,) = two_disks.machine.run("cat /var/log/voicefleet/gpu.log").splitlines()
    assert line.endswith(xid)


def test_an_upgrade_of_a_library_that_all_use_restarts_nothing_that_calls_need(two_disks: BootedNode) -> None:
    """As unattended upgrades leave a node; Ubuntu's hook, and who asks for it, then restart what uses the old one."""
    library = "/usr/lib/x86_64-linux-gnu/libssl.so.3"
    two_disks.machine.run(f"cp {library} {library}.new && mv {library}.new {library}")
    running = f"systemctl show --value --property=InvocationID {' '.join(SERVING)}"
    before = two_disks.machine.run(running)
    for mode in ("", "-r a"):
        told = two_disks.machine.run(f"needrestart -l {mode} 2>&1")
        assert set(SERVING) <= set(told.split()), "it has seen that they use the old one"
    assert two_disks.machine.run(running) == before


def test_the_runbooks_commands_for_a_node_are_those_of_an_ordinary_user_with_sudo(two_disks: BootedNode) -> None:
    """Which is who SSM's session gives."""
    two_disks.machine.run("useradd ssm-user && echo 'ssm-user ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/ssm-agent-users")
    for_a_node = [block for block in blocks() if block.page == RUNBOOK and "for a node" in block.note]
    assert len(for_a_node) > 2
    for block in for_a_node:
        told = two_disks.machine.run(f"runuser -u ssm-user -- bash -c {shlex.quote(block.text)} 2>&1 || true")
        refused = re.findall(
            r".*(?:denied|permission|not permitted|must be root|authentication).*", told, re.IGNORECASE
        )
        assert refused == [], block.name


def test_a_worker_that_is_killed_comes_back_and_the_node_with_it(two_disks: BootedNode) -> None:
    killed = two_disks.machine.run("systemctl show --value --property=MainPID voicefleet-tts.service").strip()
    two_disks.machine.run(f"kill -KILL {killed}")
    two_disks.until(f"test $(systemctl show --value --property=MainPID voicefleet-tts.service) != {killed}")
    two_disks.until("systemctl is-active voicefleet-tts.service")
    two_disks.until("curl --silent --fail 127.0.0.1:9001/ready")


def test_after_a_reboot_the_disks_are_used_again_and_a_damaged_model_is_mended(two_disks: BootedNode) -> None:
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
