"""`image/provision/`: what the scripts do to a machine, and that they do nothing to one where it is done."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.programs import NAMESPACES, SHELLCHECK, SHFMT
from tests.support.provisioning import ROOT, SIGNED_ARCHIVE, ProvisioningFailed, System, system, versions

BUILD_ROOT = ROOT / "tests/support/boot/build-root.sh"
SCRIPTS = sorted((ROOT / "image" / "provision").glob("*.sh"))
INSTALL = "apt-get -o DPkg::Lock::Timeout=600 --quiet --yes --no-install-recommends install "


@pytest.fixture
def fresh(tmp_path: Path, require: Callable[..., None]) -> System:
    """A machine that nobody has provisioned yet."""
    require(NAMESPACES)
    return system(tmp_path / "root")


def asked_of(name: str, asked: list[str]) -> list[str]:
    """What was asked of that program."""
    return [line for line in asked if line.split()[0] == name]


def packages(asked: list[str]) -> list[str]:
    """Every package that apt was asked for, in order."""
    return [package for line in asked if line.startswith(INSTALL) for package in line.removeprefix(INSTALL).split()]


def test_twice_changes_nothing(fresh: System) -> None:
    fresh.provision()
    once = fresh.tree()
    asked = fresh.provision()
    assert fresh.tree() == once
    assert packages(asked) == []
    assert not [line for line in asked if " pip " in line or " venv " in line]


def test_packages_are_of_the_pinned_versions(fresh: System) -> None:
    pins = versions()
    asked = packages(fresh.provision())
    assert {
        f"linux-{pins['KERNEL']}",
        f"linux-modules-nvidia-{pins['DRIVER']}-{pins['KERNEL']}",
        f"nvidia-utils-{pins['DRIVER']}",
        f"nvidia-compute-utils-{pins['DRIVER']}",
        f"datacenter-gpu-manager-4-core={pins['DCGM']}",
        f"datacenter-gpu-manager-exporter={pins['DCGM_EXPORTER']}",
        "/sources/amazon-cloudwatch-agent.deb",
        "prometheus-node-exporter",
        "chrony",
    } <= set(asked)
    assert not [name for name in asked if re.search("cuda|cublas|cudnn|dkms|toolkit", name)]


def test_apt_always_waits_for_its_locks(fresh: System) -> None:
    asked = asked_of("apt-get", fresh.provision())
    assert asked
    assert [line for line in asked if "DPkg::Lock::Timeout=600" not in line] == []


def test_driver_and_kernel_are_held_together(fresh: System) -> None:
    pins = versions()
    held = " ".join(asked_of("apt-mark", fresh.provision())).split()
    assert {f"linux-{pins['KERNEL']}", f"linux-modules-nvidia-{pins['DRIVER']}-{pins['KERNEL']}"} <= set(held)
    programs = ("nvidia-utils", "nvidia-compute-utils", "libnvidia-compute")
    assert {f"{name}-{pins['DRIVER']}" for name in programs} <= set(held)
    assert "chrony" not in held


def test_a_module_of_another_version_than_its_programs_fails_the_build(fresh: System) -> None:
    (fresh.root / "state/module").write_text("580.82.07\n")
    with pytest.raises(ProvisioningFailed, match=r"is 580\.82\.07, the programs are 580\.95\.05"):
        fresh.provision()


def test_another_version_of_the_agent_fails_the_build(fresh: System) -> None:
    older = "amazon-cloudwatch-agent=1.2-1\n"
    (fresh.root / "sources/amazon-cloudwatch-agent.deb").write_text(older)
    fresh.pin_agent(older)
    with pytest.raises(
        ProvisioningFailed, match=r"holds amazon-cloudwatch-agent=1\.2-1; image/versions\.env asks for 1\.3"
    ):
        fresh.provision()


def test_an_agent_of_another_hash_fails_the_build_before_anything_is_installed(fresh: System) -> None:
    with (fresh.root / "sources/amazon-cloudwatch-agent.deb").open("a") as file:
        file.write("and something of somebody else's\n")
    with pytest.raises(ProvisioningFailed, match=r"has the SHA-256 [0-9a-f]{64}; image/versions\.env asks for"):
        fresh.provision()
    assert not (fresh.root / "asked").exists()


@pytest.mark.parametrize("pin", ["", "0123", "latest"])
def test_without_the_agents_hash_there_is_no_image(fresh: System, pin: str) -> None:
    fresh.pin(CLOUDWATCH_AGENT_SHA256=pin)
    with pytest.raises(ProvisioningFailed, match=f"CLOUDWATCH_AGENT_SHA256 in image/versions.env: got '{pin}'; takes"):
        fresh.provision()
    assert not (fresh.root / "asked").exists()


@pytest.mark.parametrize(
    ("archives", "fault"),
    [
        ("Types: deb\nURIs: https://archive.example/\nSuites: /\n", "an archive without Signed-By"),
        (f"{SIGNED_ARCHIVE}\nTypes: deb\nURIs: https://other.example/\nSuites: /\n", "an archive without Signed-By"),
        (SIGNED_ARCHIVE.replace("/etc/apt/keyrings/nvidia.asc", "/tmp/any.asc"), "an archive without Signed-By"),
        (f"{SIGNED_ARCHIVE}Trusted: yes\n", "whose signature would not be asked for"),
        (f"{SIGNED_ARCHIVE}Allow-Insecure: yes\n", "whose signature would not be asked for"),
    ],
)
def test_an_archive_that_nobody_signs_fails_the_build(fresh: System, archives: str, fault: str) -> None:
    (fresh.root / "sources/nvidia.sources").write_text(archives)
    with pytest.raises(ProvisioningFailed, match=fault):
        fresh.provision()
    assert not (fresh.root / "asked").exists()


def test_the_application_comes_from_the_locks_with_their_hashes(fresh: System) -> None:
    installs = [line.partition(" install ")[2] for line in fresh.provision() if " pip install " in line]
    assert installs[:4] == [
        "--require-hashes --requirement /voicefleet/requirements/base.txt",
        "--no-deps --require-hashes --requirement /voicefleet/requirements/chatterbox.txt",
        "--no-deps --require-hashes --requirement /voicefleet/requirements/gpu.txt",
        "--require-hashes --requirement /voicefleet/requirements/bootstrap.txt",
    ]
    assert re.fullmatch(r"--no-deps --no-index /tmp/\S+/voicefleet-0\.1\.0-py3-none-any\.whl", installs[4])
    assert len(installs) == 5


def test_what_is_compiled_for_the_gpu_is_made_after_the_application_and_leaves_no_compiler(fresh: System) -> None:
    asked = fresh.provision()
    compiling = asked.index("voicefleet models compile")
    assert asked.index("voicefleet --help") < compiling
    assert [
        line for line in asked[:compiling] if line.startswith(INSTALL) and line.endswith(" gcc libc6-dev python3-dev")
    ]
    purged = "apt-get -o DPkg::Lock::Timeout=600 --quiet --yes purge gcc libc6-dev python3-dev"
    assert (
        compiling
        < asked.index(purged)
        < len(asked) - 1 - asked[::-1].index("apt-get -o DPkg::Lock::Timeout=600 --quiet --yes autoremove --purge")
    )
    unit = (ROOT / "image/units/voicefleet-tts.service").read_text(encoding="utf-8")
    (cache,) = re.findall(r"^Environment=TORCHINDUCTOR_CACHE_DIR=/(\S+)$", unit, re.MULTILINE)
    assert f"{cache}/made-of" in fresh.tree()


def test_what_can_not_be_compiled_costs_the_cache_and_not_the_image(fresh: System) -> None:
    (fresh.root / "state/no-compile").touch()
    asked = fresh.provision()
    assert asked.index("voicefleet models compile") < len(asked) - 1
    assert not [path for path in fresh.tree() if path.startswith("var/cache/voicefleet-tts/inductor/")]
    (fresh.root / "state/no-compile").unlink()
    assert "voicefleet models compile" in fresh.provision(), "tried again by the next build"


def test_the_gpus_counters_are_looked_for_once_the_exporter_runs_and_only_where_there_is_a_gpu(fresh: System) -> None:
    asked = fresh.provision()
    (look,) = [line for line in asked if "gpu_counters.py" in line]
    assert look.endswith("gpu_counters.py /etc/dcgm-exporter/counters.csv http://127.0.0.1:9400/metrics")
    around = asked[asked.index(look) - 1], asked[asked.index(look) + 1]
    assert around == ("systemctl start dcgm-exporter.service", "systemctl stop dcgm-exporter.service")
    assert not [line for line in fresh.provision(WITH_GPU="0") if "gpu_counters" in line]


def test_a_changed_lock_makes_the_application_anew(fresh: System) -> None:
    fresh.provision()
    with (fresh.root / "voicefleet/requirements/base.txt").open("a") as lock:
        lock.write("# another\n")
    assert [line for line in fresh.provision() if " -m venv /opt/voicefleet" in line]


def test_without_a_gpu_nothing_of_nvidia_comes(fresh: System) -> None:
    asked = fresh.provision(WITH_GPU="0", WITH_CLOUDWATCH="0")
    assert not [name for name in packages(asked) if re.search("nvidia|datacenter|linux-|cloudwatch", name)]
    assert not [line for line in asked if re.search("gpu.txt|chatterbox.txt|models compile", line)]
    assert "etc/systemd/system/voicefleet.service" in fresh.tree()


def test_ssh_is_closed_and_nothing_of_the_build_is_left(fresh: System) -> None:
    asked = fresh.provision()
    tree = fresh.tree()
    assert "systemctl mask ssh.service ssh.socket" in asked
    assert "cloud-init clean --logs" in asked
    assert tree["etc/machine-id"][1] == tree["var/log/syslog"][1] == b""
    left = [path for path in tree if re.search(r"\.cache/|sources\.list\.d/", path)]
    assert left == []


def test_the_files_of_the_repository_are_on_the_image(fresh: System) -> None:
    fresh.provision()
    tree = fresh.tree()
    image = ROOT / "image"
    for there, here, mode in [
        ("etc/dcgm-exporter/counters.csv", image / "files/dcgm-exporter/counters.csv", 0o644),
        *(
            (f"usr-local/share/voicefleet/cloudwatch-agent/{path.name}", path, 0o644)
            for path in (image / "files/cloudwatch-agent").iterdir()
        ),
        *((f"usr-local/lib/voicefleet/{path.name}", path, 0o755) for path in (image / "boot").iterdir()),
        *((f"etc/systemd/system/{path.name}", path, 0o644) for path in (image / "units").glob("*.service")),
        ("etc/sysusers.d/voicefleet.conf", image / "units/voicefleet.sysusers", 0o644),
    ]:
        assert tree[there] == (mode, here.read_bytes())


def test_a_unit_with_an_install_section_is_enabled(fresh: System) -> None:
    unit = fresh.root / "voicefleet/image/units/another.service"
    unit.write_text("[Service]\nExecStart=true\n[Install]\nWantedBy=multi-user.target\n")
    asked = fresh.provision()
    assert "systemctl enable another.service" in asked
    assert "systemctl enable mnt-nvme.mount" not in asked


def test_it_asks_before_it_changes_the_machine_it_runs_on() -> None:
    script = ROOT / "image" / "provision" / "provision.sh"
    result = subprocess.run(["bash", script], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "say --this-machine" in result.stderr


def test_the_scripts_are_clean() -> None:
    for command in ([SHELLCHECK, "-x", "-P", "SCRIPTDIR"], [SHFMT, "-i", "2", "-ci", "-d"]):
        result = subprocess.run(
            [*command, *map(str, SCRIPTS), str(BUILD_ROOT)], capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("script", [path for path in SCRIPTS if path.name[0].isdigit()], ids=lambda path: path.name)
def test_a_script_is_strict_and_says_what_it_does(script: Path) -> None:
    shebang, job, strict = script.read_text(encoding="utf-8").splitlines()[:3]
    assert shebang == "#!/usr/bin/env bash"
    assert job.startswith("# ")
    assert strict == 'source "$(dirname "$0")/lib.sh"'  # which sets -euo pipefail


def test_the_cuda_that_the_image_names_is_the_one_of_the_lock() -> None:
    lock = (ROOT / "requirements" / "gpu.txt").read_text(encoding="utf-8")
    runtime = re.search(r"^nvidia-cuda-runtime-cu12==(\d+\.\d+)\.", lock, re.MULTILINE)
    assert runtime
    assert runtime[1] == versions()["CUDA"]
