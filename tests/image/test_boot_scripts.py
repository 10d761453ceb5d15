"""What a node runs at boot, each for real, with stand-ins for the programs that need disks or systemd."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from server.models.store import ModelStore, State
from server.settings.settings import Settings
from tests.support.imds import fake_imds
from tests.support.programs import SHELLCHECK, SHFMT
from tests.support.units import read

IMAGE = Path(__file__).parents[2] / "image"
SCRIPTS = sorted((IMAGE / "boot").iterdir())
NEEDED = ("silero-vad", "smart-turn-v3.2", "tiny.en", "hibari-heart")
EC2 = "Amazon EC2 NVMe Instance Storage"
ONE, TWO, ROOT_DISK = "/dev/nvme1n1", "/dev/nvme2n1", "/dev/nvme0n1"
OUR_XFS = "LABEL=voicefleet\nUUID=1-2\nTYPE=xfs"
OUR_ARRAY = "UUID=1-2\nLABEL=ip-10-0-0-7:voicefleet\nTYPE=linux_raid_member"

# What the machine is, in files: models (NAME MODEL), content/NAME (what blkid finds), fails (programs that fail).
# What is done to it is written to `done`, and a file system that is made or found in an array gets its link.
PROGRAM = """#!/usr/bin/env bash
name=${0##*/} machine=${0%/*/*}
case $name in
  lsblk) cat "$machine/models"; exit ;;
  blkid)
    [[ -s $machine/content/${@: -1} ]] || exit 2
    echo "DEVNAME=${@: -1}"; cat "$machine/content/${@: -1}"; exit ;;
  udevadm) exit ;;
esac
echo "$name $*" >>"$machine/done"
! grep --quiet --fixed-strings "$name $1" "$machine/fails" || { sed -i 1d "$machine/fails"; exit 1; }
[[ "$name $1" != "mdadm --assemble" && $name != mkfs.xfs ]] || touch "$ROOT/dev/disk/by-label/voicefleet"
"""


@dataclass
class Machine:
    """A machine with disks that aren't there."""

    folder: Path

    def run(self, script: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run a script of the image on it."""
        path = f"{self.folder}/bin:/usr/bin:/bin"
        environment = {"PATH": path, "ROOT": str(self.root), **variables}
        return subprocess.run(
            [IMAGE / "boot" / script], env=environment, capture_output=True, text=True, check=False, timeout=60
        )

    @property
    def root(self) -> Path:
        """Of what the scripts read and write."""
        return self.folder / "root"

    @property
    def done(self) -> list[str]:
        """What was done to the disks, and what systemd was asked for."""
        file = self.folder / "done"
        return file.read_text().splitlines() if file.exists() else []

    def metric(self, file: str) -> dict[str, float]:
        """The samples of a text file for node_exporter, by what tells them apart."""
        text = (self.root / "var/lib/prometheus/node-exporter" / file).read_text()
        return {
            " ".join([sample.name, *sample.labels.values()]): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    for folder in ("bin", "root/dev/disk/by-label", "root/var/lib/prometheus/node-exporter"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("lsblk", "blkid", "udevadm", "mdadm", "mkfs.xfs", "systemctl"):
        program = tmp_path / "bin" / name
        program.write_text(PROGRAM)
        program.chmod(0o755)
    return Machine(tmp_path)


Disks = Callable[..., None]


@pytest.fixture
def disks(machine: Machine) -> Disks:
    """Puts disks of EC2's into the machine, besides its root volume, each with what blkid finds on it."""

    def put(*found: str, fails: tuple[str, ...] = (), found_by_udev: bool = False) -> None:
        names = (ONE, TWO)[: len(found)]
        lines = [f"{ROOT_DISK} Amazon Elastic Block Store              ", *(f"{name} {EC2}        " for name in names)]
        (machine.folder / "models").write_text("\n".join(lines) + "\n")
        (machine.folder / "fails").write_text("\n".join(fails))
        for name, content in [(ROOT_DISK, "PTTYPE=gpt"), *zip(names, found, strict=True)]:
            file = machine.folder / "content" / name.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content + "\n" if content else "")
        if found_by_udev:
            (machine.root / "dev/disk/by-label/voicefleet").touch()

    return put


MOUNT = "systemctl start mnt-nvme.mount"
FORMAT_ONE = f"mkfs.xfs -q -f -K -L voicefleet {ONE}"
STOP = "mdadm --stop --scan"
CREATE = f"mdadm --create /dev/md/voicefleet --run --level=0 --name=voicefleet --raid-devices=2 {ONE} {TWO}"
FORMAT_ARRAY = "mkfs.xfs -q -f -K -L voicefleet /dev/md/voicefleet"
ASSEMBLE = f"mdadm --assemble /dev/md/voicefleet {ONE} {TWO}"


def cache(machine: Machine, **variables: str) -> list[str]:
    told = machine.run("mount-model-cache", **variables)
    assert told.returncode == 0, told.stderr
    return machine.done


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_says_its_job_stops_at_the_first_error_and_is_clean(script: Path) -> None:
    shebang, job, *rest = script.read_text().splitlines()
    assert shebang == "#!/usr/bin/env bash"
    assert job.startswith("# ")
    assert "set -euo pipefail" in rest
    assert script.stat().st_mode & 0o111
    for check in ([SHELLCHECK], [SHFMT, "-d", "-i", "2", "-ci"]):
        told = subprocess.run([*check, script], capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stdout + told.stderr


def test_without_a_disk_the_cache_is_on_the_root_volume_and_a_metric_says_so(machine: Machine, disks: Disks) -> None:
    disks()
    assert cache(machine) == []
    assert machine.metric("voicefleet-cache.prom") == {"voice_model_cache_on_root": 1.0}


def test_one_blank_disk_is_formatted_and_mounted(machine: Machine, disks: Disks) -> None:
    disks("")
    assert cache(machine) == [FORMAT_ONE, MOUNT]
    assert machine.metric("voicefleet-cache.prom") == {"voice_model_cache_on_root": 0.0}


def test_several_become_one(machine: Machine, disks: Disks) -> None:
    disks("", "")
    assert cache(machine) == [CREATE, FORMAT_ARRAY, MOUNT]


def test_after_a_reboot_the_file_system_is_found_again(machine: Machine, disks: Disks) -> None:
    disks(OUR_XFS, found_by_udev=True)
    assert cache(machine) == [MOUNT]


def test_after_a_reboot_the_array_is_put_together_again(machine: Machine, disks: Disks) -> None:
    disks(OUR_ARRAY, OUR_ARRAY)
    assert cache(machine) == [ASSEMBLE, MOUNT]


def test_an_array_that_udev_has_put_together_is_taken(machine: Machine, disks: Disks) -> None:
    disks(OUR_ARRAY, OUR_ARRAY, found_by_udev=True)
    assert cache(machine) == [MOUNT]


def test_half_an_array_is_made_afresh(machine: Machine, disks: Disks) -> None:
    disks(OUR_ARRAY, "", fails=("mdadm --assemble",))
    assert cache(machine) == [f"mdadm --assemble /dev/md/voicefleet {ONE}", STOP, CREATE, FORMAT_ARRAY, MOUNT]


def test_the_one_disk_that_is_left_of_an_array_is_taken(machine: Machine, disks: Disks) -> None:
    disks(OUR_ARRAY, fails=("mdadm --assemble",))
    assert cache(machine) == [f"mdadm --assemble /dev/md/voicefleet {ONE}", STOP, FORMAT_ONE, MOUNT]


def test_a_file_system_that_can_not_be_mounted_is_made_afresh(machine: Machine, disks: Disks) -> None:
    disks(OUR_XFS, found_by_udev=True, fails=("systemctl start",))
    assert cache(machine) == [MOUNT, FORMAT_ONE, MOUNT]


def test_a_disk_that_can_not_be_formatted_leaves_the_cache_on_the_root_volume(machine: Machine, disks: Disks) -> None:
    disks("", fails=("mkfs.xfs -q",))
    assert cache(machine) == [FORMAT_ONE]
    assert machine.metric("voicefleet-cache.prom") == {"voice_model_cache_on_root": 1.0}


@pytest.mark.parametrize(
    "foreign",
    [
        "UUID=1-2\nTYPE=ext4",
        "LABEL=voicefleet\nUUID=1-2\nTYPE=ext4",
        "LABEL=voicefleet-2\nUUID=1-2\nTYPE=xfs",
        "LABEL=host:data\nTYPE=linux_raid_member",
        "PTUUID=1-2\nPTTYPE=gpt",
        "TYPE=LVM2_member",
    ],
)
def test_what_is_not_ours_is_never_written_over(machine: Machine, disks: Disks, foreign: str) -> None:
    disks(foreign)
    assert cache(machine) == []
    disks(foreign, "")
    assert cache(machine) == [FORMAT_ONE.replace(ONE, TWO), MOUNT]


def test_the_model_of_the_disks_is_a_pattern(machine: Machine, disks: Disks) -> None:
    disks("")
    assert cache(machine, CACHE_DISK_MODEL="QEMU NVMe*") == []
    assert cache(machine, CACHE_DISK_MODEL="Amazon EC2*") == [FORMAT_ONE, MOUNT]


# --- the models


def hydrate(cache: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run what the unit runs; the models of this machine's own cache are what it fetches from."""
    (command,) = read("voicefleet-models.service")["Service"]["ExecStart"]
    program, *arguments = command.split()
    ours = Settings().model_dir.expanduser()
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "VOICE_MODEL_DIR": str(cache),
        "VOICE_MODEL_LOCAL": str(ours),
        "VOICE_LLM": "bedrock:us.amazon.nova-lite-v1:0",
        **variables,
    }
    here = Path(sys.executable).parent / Path(program).name
    return subprocess.run([here, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=120)


def test_models_are_fetched_and_a_damaged_one_is_mended(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    told = hydrate(tmp_path)
    assert told.returncode == 0, told.stderr
    assert {name: store.status(name) for name in NEEDED} == dict.fromkeys(NEEDED, State.READY)

    file = tmp_path / "tiny.en/config.json"
    file.write_bytes(b"?" + file.read_bytes()[1:])
    told = hydrate(tmp_path)
    assert told.returncode == 0, told.stderr
    assert store.status("tiny.en") is State.READY
    assert "fetching tiny.en/config.json" in told.stdout
    assert told.stdout.count("fetching") == 1

    told = hydrate(tmp_path, VOICE_MODEL_LOCAL=str(tmp_path / "nowhere"))
    assert told.returncode == 0, "what is there needs no source"
    assert sorted(told.stdout.splitlines()) == sorted(f"{name}: ready" for name in NEEDED)


def test_a_setting_that_is_wrong_is_named_and_nothing_is_fetched(tmp_path: Path) -> None:
    told = hydrate(tmp_path, VOICE_STT_MODEL="enormous")
    assert told.returncode == 2
    assert "enormous" in told.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_can_not_be_had_is_told_and_stops_no_other(tmp_path: Path) -> None:
    mirror, cache = tmp_path / "mirror", tmp_path / "cache"
    mirror.mkdir()
    (mirror / "silero-vad").symlink_to(Settings().model_dir.expanduser() / "silero-vad")
    nowhere = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": "/dev/null", "HF_ENDPOINT": "gopher://hub"}

    told = hydrate(cache, VOICE_MODEL_LOCAL=str(mirror), **nowhere)

    assert told.returncode == 1
    assert "silero-vad: ready" in told.stdout.splitlines()
    for name in ("smart-turn-v3.2", "tiny.en", "hibari-heart"):
        assert f"model '{name}' can't be fetched; every source failed:" in told.stderr
        assert f"{name}: ready" not in told.stdout


# --- the CloudWatch agent's files


FLEET = {"VOICE_FLEET_GROUP": "voicefleet-prod", "LOG_GROUP": "/voicefleet/prod/nodes", "METRICS_LOG_GROUP": "/m&m"}


@pytest.fixture
def agent(machine: Machine) -> Path:
    """The agent's folder, on a machine that has the templates."""
    share = machine.root / "usr/local/share/voicefleet"
    share.mkdir(parents=True)
    (share / "cloudwatch-agent").symlink_to(IMAGE / "files/cloudwatch-agent")
    folder = machine.root / "opt/aws/amazon-cloudwatch-agent/etc"
    folder.mkdir(parents=True)
    return folder


def test_the_agents_files_name_the_node(machine: Machine, agent: Path) -> None:
    with fake_imds(instance_id="i-00000000000000007") as imds:
        told = machine.run("fill-config", **FLEET, **imds.variables)
        assert told.returncode == 0, told.stderr
        assert imds.refused == 0
    for template in (IMAGE / "files/cloudwatch-agent").iterdir():
        expected = template.read_text()
        for name, value in {
            "AUTO_SCALING_GROUP": "voicefleet-prod",
            "INSTANCE_ID": "i-00000000000000007",
            "LOG_GROUP": "/voicefleet/prod/nodes",
            "METRICS_LOG_GROUP": "/m&m",
        }.items():
            expected = expected.replace(f"${{{name}}}", value)
        assert (agent / template.name).read_text() == expected


@pytest.mark.parametrize("missing", FLEET)
def test_a_variable_that_is_missing_is_named_and_nothing_is_written(
    machine: Machine, agent: Path, missing: str
) -> None:
    variables = {name: value for name, value in FLEET.items() if name != missing}
    with fake_imds() as imds:
        told = machine.run("fill-config", **variables, **imds.variables)
    assert told.returncode != 0
    assert f"{missing}: is not set" in told.stderr
    assert list(agent.iterdir()) == []


def test_a_placeholder_that_nobody_fills_in_is_an_error(machine: Machine, agent: Path) -> None:
    templates = machine.root / "usr/local/share/voicefleet/cloudwatch-agent"
    templates.unlink()
    templates.mkdir()
    (templates / "agent.json").write_text('{"zone": "${ZONE}"}\n')
    with fake_imds() as imds:
        told = machine.run("fill-config", **FLEET, **imds.variables)
    assert told.returncode == 1
    assert "agent.json asks for something that is not known here" in told.stderr


# --- how long it took


def test_the_stages_of_a_boot_are_timed(machine: Machine) -> None:
    times = {
        "voicefleet-cache.service": (3_000_000, 5_500_000, 0),
        "voicefleet-models.service": (5_600_000, 0, 25_600_000),  # it ran to its end
        "voicefleet-stt.service": (25_700_000, 31_750_000, 0),
        "voicefleet-tts.service": (25_700_000, 0, 0),  # it is still starting
        "voicefleet.service": (40_000_000, 41_042_000, 0),
    }
    lines = [
        f"{unit}) printf '%s' '{began}:{active}:{ended}' | cut -d: -f$field ;;"
        for unit, (began, active, ended) in times.items()
    ]
    systemctl = machine.folder / "bin/systemctl"
    fields = "*InactiveExitT*) field=1 ;; *ActiveEnterT*) field=2 ;; *InactiveEnterT*) field=3 ;;"
    fields = fields.replace("*ActiveEnterT*", "*=ActiveEnterT*")
    systemctl.write_text("\n".join(["#!/bin/bash", f"case $3 in {fields} esac", "case $4 in", *lines, "esac\n"]))

    told = machine.run("boot-report")

    assert told.returncode == 0, told.stderr
    expected = {
        "voice_boot_stage_seconds system": 3.0,
        "voice_boot_stage_seconds cache": 2.5,
        "voice_boot_stage_seconds models": 20.0,
        "voice_boot_stage_seconds stt": 6.05,
        "voice_boot_stage_seconds tts": 0.0,
        "voice_boot_stage_seconds gateway": 1.042,
        "voice_boot_ready_seconds": 41.042,
    }
    assert machine.metric("voicefleet-boot.prom") == expected
    assert 'voice_boot_stage_seconds{stage="models"} 20.000' in told.stdout.splitlines()
