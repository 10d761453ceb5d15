"""The units of the image as systemd itself reads them: whole, in order, and shut in."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from infra.config import FleetConfig
from infra.fleet import ENVIRONMENT_FILE, MPS_FOLDER, VOICES_FOLDER
from infra.metrics import MODEL_CACHE
from tests.support.units import IMAGE, UNITS, read, words

SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
OURS = [*SERVICES, "voicefleet.target", "mnt-nvme.mount"]
SERVING = ["voicefleet.service", "voicefleet-stt.service", "voicefleet-tts.service"]
LOGS = ["voicefleet-logs.service", "voicefleet-gpu-logs.service"]
PACKAGES = ["amazon-cloudwatch-agent.service", "prometheus-node-exporter.service"]
MOST_EXPOSURE = 3.0
SINCE_254 = re.compile(r".*Unknown key '(RestartSteps|RestartMaxDelaySec)' in section \[Service\], ignoring\.")
"""Ubuntu 24.04 has systemd 255, which knows both; Debian 12 has 252, which restarts after RestartSec always."""


def run(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What of the image's root systemd looks at: its own units, ours, the packages', and every program they name."""
    root = tmp_path_factory.mktemp("image")
    folder = root / "etc/systemd/system"
    shutil.copytree(UNITS, folder)
    shutil.copytree("/usr/lib/systemd/system", root / "usr/lib/systemd/system", symlinks=True)
    for name in PACKAGES:
        (folder / name).write_text("[Service]\nExecStart=/usr/bin/package\n")
    for unit in folder.rglob("*"):
        if unit.is_file():
            for program in re.findall(r"^Exec\w+=[+-]*(/\S+)", unit.read_text(), re.MULTILINE):
                at = root / program.lstrip("/")
                at.parent.mkdir(parents=True, exist_ok=True)
                at.write_text("#!/bin/sh\n")
                at.chmod(0o755)
    return root


@pytest.mark.needs("systemd-analyze")
def test_systemd_has_nothing_to_say_against_them(image: Path) -> None:
    told = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", f"--root={image}", *OURS, *PACKAGES)
    complaints = told.stderr.splitlines()
    assert [line for line in complaints if not SINCE_254.fullmatch(line)] == []
    assert told.returncode == bool(complaints)
    version = int(run("systemd-analyze", "--version").stdout.split()[1].partition(".")[0])
    assert bool(complaints) == (version < 254)


@pytest.mark.needs("systemd-analyze")
def test_systemd_would_say_what_is_wrong(image: Path) -> None:
    unit = image / "etc/systemd/system/broken.service"
    unit.write_text("[Service]\nExecStart=/nowhere\nRestrt=always\n")
    told = run("systemd-analyze", "verify", "--man=no", f"--root={image}", unit.name)
    assert "Unknown key 'Restrt'" in told.stderr
    assert "/nowhere is not executable" in told.stderr


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("unit", SERVICES)
def test_a_unit_is_shut_in(unit: str) -> None:
    told = run("systemd-analyze", "security", "--offline=true", "--no-pager", str(UNITS / unit))
    found = re.search(r"Overall exposure level for \S+: (\d+\.\d)", told.stdout)
    assert found, told.stderr
    assert float(found[1]) <= MOST_EXPOSURE


def test_a_node_starts_in_order() -> None:
    order = {
        "voicefleet-models.service": {"voicefleet-cache.service"},
        "voicefleet-mps.service": {"voicefleet-gpu.service"},
        "voicefleet-stt.service": {"voicefleet-models.service", "voicefleet-gpu.service", "voicefleet-mps.service"},
        "voicefleet-tts.service": {"voicefleet-models.service", "voicefleet-gpu.service", "voicefleet-mps.service"},
        "voicefleet.service": {"voicefleet-models.service", "voicefleet-stt.service", "voicefleet-tts.service"},
        "amazon-cloudwatch-agent.service.d/voicefleet.conf": {"voicefleet-config.service"},
        "dcgm-exporter.service": {"voicefleet-gpu.service"},
    }
    for unit, before in order.items():
        assert before <= words(unit, "Unit", "After"), unit
        assert before <= words(unit, "Unit", "Wants") | words(unit, "Unit", "Requires"), unit


def test_a_boot_is_reported_once_its_gateway_serves_and_not_before() -> None:
    report = "voicefleet-boot-report.service"
    assert report in words("voicefleet.service", "Unit", "Wants"), "or a start after a failed one has none"
    assert words(report, "Unit", "After") == {"voicefleet.service"}
    service = read(report)["Service"]
    assert service["ExecCondition"] == ["/usr/bin/systemctl is-active --quiet voicefleet.service"]
    assert service["RemainAfterExit"] == ["yes"], "a later restart of the gateway is no boot"


def test_every_unit_of_ours_is_reached_from_the_target() -> None:
    reached, to_see = set(), {"voicefleet.target"}
    while to_see:
        unit = to_see.pop()
        reached.add(unit)
        path = f"{unit}.d/voicefleet.conf" if unit in PACKAGES else unit
        if (UNITS / path).exists() and "Unit" in read(path):
            to_see |= (words(path, "Unit", "Wants") | words(path, "Unit", "Requires")) - reached
    assert set(SERVICES) - reached == {"voicefleet-boot.service"}, "which starts the target"
    assert set(PACKAGES) <= reached


def test_nothing_but_the_restart_of_a_machine_starts_a_node_before_user_data_does() -> None:
    assert [unit for unit in OURS if "Install" in read(unit)] == ["voicefleet-boot.service"]
    assert words("voicefleet-boot.service", "Unit", "ConditionPathExists") == {ENVIRONMENT_FILE}


@pytest.mark.parametrize("unit", SERVING)
def test_what_serves_says_so_itself_is_watched_and_comes_back_each_time_a_little_later(unit: str) -> None:
    service = read(unit)["Service"]
    assert service["Type"] == ["notify"]
    assert service["Restart"] == ["always"]
    assert {"WatchdogSec", "RestartSec", "RestartSteps", "RestartMaxDelaySec"} <= service.keys()
    assert read(unit)["Unit"]["StartLimitIntervalSec"] == ["0"], "it is never given up"


@pytest.mark.needs("systemd-sysusers")
def test_each_has_a_user_of_its_own_that_the_image_makes(tmp_path: Path) -> None:
    users = [read(unit)["Service"]["User"][0] for unit in SERVING]
    assert len(set(users)) == len(users)
    list_of_users = (UNITS / "voicefleet.sysusers").read_text()
    told = subprocess.run(
        ["systemd-sysusers", "--dry-run", f"--root={tmp_path}", "-"],
        input=list_of_users,
        capture_output=True,
        text=True,
        check=True,
    )
    made = re.findall(r"Creating user '(\S+)'", told.stderr)
    assert {user for unit in SERVICES for user in read(unit)["Service"].get("User", [])} == set(made)


def test_the_gateway_finds_the_workers_where_they_serve() -> None:
    environment = words("voicefleet.service", "Service", "Environment")
    for worker in ("stt", "tts"):
        command = read(f"voicefleet-{worker}.service")["Service"]["ExecStart"][0].split()
        address = command[command.index("--address") + 1]
        assert f"VOICE_{worker.upper()}_ADDRESS={address}" in environment
        folder = read(f"voicefleet-{worker}.service")["Service"]["RuntimeDirectory"][0]
        assert Path(address.removeprefix("unix:")).parent == Path("/run", folder)


def test_only_who_computes_on_the_gpu_may_open_it() -> None:
    may = {unit for unit in SERVICES if "char-nvidia*" in words(unit, "Service", "DeviceAllow")}
    workers = {"voicefleet-stt.service", "voicefleet-tts.service"}
    assert may == workers | {"voicefleet-mps.service", "dcgm-exporter.service"}


@pytest.mark.parametrize(("folder", "runs"), [("", False), (MPS_FOLDER, True)])
def test_mps_is_skipped_unless_user_data_names_its_folder(folder: str, runs: bool) -> None:
    (condition,) = read("voicefleet-mps.service")["Service"]["ExecCondition"]
    words_of_it = [folder if word == "${CUDA_MPS_PIPE_DIRECTORY}" else word for word in condition.split()]
    assert folder in words_of_it
    assert (run(*words_of_it).returncode == 0) == runs


@pytest.mark.parametrize(("place", "runs"), [("", False), ("s3://bucket/voices", True)])
def test_voices_are_fetched_where_user_data_names_their_place(place: str, runs: bool) -> None:
    service = read("voicefleet-voices.service")["Service"]
    (condition,) = service["ExecCondition"]
    assert (run(*(place if word == "${VOICES_S3}" else word for word in condition.split())).returncode == 0) == runs
    assert service["ExecStart"][0].split()[-2:] == ["${VOICES_S3}", VOICES_FOLDER]
    assert service["ExecStartPre"][0].split()[-1] == VOICES_FOLDER
    assert "voicefleet-voices.service" in words("voicefleet-tts.service", "Unit", "After")


def test_mps_serves_both_workers_in_a_folder_that_they_reach() -> None:
    mps = read("voicefleet-mps.service")["Service"]
    assert mps["RuntimeDirectory"] == [MPS_FOLDER.removeprefix("/run/")]
    for worker in ("stt", "tts"):
        service = read(f"voicefleet-{worker}.service")["Service"]
        assert service["Group"] == mps["Group"]
        assert service["EnvironmentFile"] == mps["EnvironmentFile"] == [ENVIRONMENT_FILE]
    assert "-multiuser-server" in mps["ExecStart"][0], "or the second user waits until the first one has gone"


def test_the_gateway_comes_first_for_the_processor_and_last_when_memory_runs_out() -> None:
    def number(unit: str, key: str) -> int:
        return int(read(unit)["Service"][key][0])

    for worker in SERVING[1:]:
        assert number("voicefleet.service", "CPUWeight") > number(worker, "CPUWeight")
        assert number("voicefleet.service", "OOMScoreAdjust") < number(worker, "OOMScoreAdjust")


# Units with an address of the metadata service to ask: the role's credentials, or which instance this is.
ASK_METADATA = {
    "voicefleet.service",
    "voicefleet-config.service",
    "voicefleet-models.service",
    "voicefleet-voices.service",
    "amazon-cloudwatch-agent.service",
}


@pytest.mark.parametrize("unit", [*SERVICES, *PACKAGES])
def test_only_who_needs_the_roles_credentials_reaches_the_metadata_service(unit: str) -> None:
    service = read(f"{unit}.d/voicefleet.conf" if unit in PACKAGES else unit)["Service"]
    shut = service.get("IPAddressDeny") == ["any"] and service.get("IPAddressAllow", ["localhost"]) == ["localhost"]
    assert shut != (unit in ASK_METADATA)


@pytest.mark.parametrize("unit", SERVING[1:])
def test_a_speech_worker_has_no_network_but_its_socket(unit: str) -> None:
    service = read(unit)["Service"]
    assert service["PrivateNetwork"] == ["yes"]
    assert service["RestrictAddressFamilies"] == ["AF_UNIX"]


def test_when_memory_runs_out_what_costs_callers_least_ends_first() -> None:
    def killed_at(unit: str) -> int:
        path = f"{unit}.d/voicefleet.conf" if unit in PACKAGES else unit
        return int(read(path)["Service"].get("OOMScoreAdjust", ["0"])[0])

    speech = ["voicefleet-stt.service", "voicefleet-tts.service", "voicefleet.service"]
    at = [killed_at(unit) for unit in speech]
    assert at == sorted(at, reverse=True)
    assert at[-1] < 0 < at[-2]
    beside_calls = ["voicefleet-models.service", "voicefleet-voices.service", *LOGS]
    for unit in [*beside_calls, "dcgm-exporter.service", *PACKAGES]:
        assert killed_at(unit) > at[0], unit
    for worker in speech[:2]:
        assert read(worker)["Service"]["OOMPolicy"] == ["kill"], "a worker without one of its processes is of no use"


def test_a_gateway_that_grows_without_end_is_ended_before_the_machine_is_full() -> None:
    service = read("voicefleet.service")["Service"]
    assert 25 <= int(service["MemoryMax"][0].removesuffix("%")) <= 75
    assert "MemoryHigh" not in service, "it would be late for every call"


def test_no_drain_is_cut_by_systemd() -> None:
    longest = next(limit.le for limit in FleetConfig.model_fields["drain_seconds"].metadata if hasattr(limit, "le"))
    hours = read("voicefleet.service")["Service"]["TimeoutStopSec"][0]
    assert int(hours.removesuffix("h")) * 3600 > longest


def test_node_exporter_is_started_as_our_metrics_ask() -> None:
    asked = re.search(r"start it with\n#   (.+)", (IMAGE / "files/node_exporter/metrics.txt").read_text())
    assert asked
    command = read("prometheus-node-exporter.service.d/voicefleet.conf")["Service"]["ExecStart"][-1]
    assert set(asked[1].split()) <= set(command.replace("\\\\", "\\").split())


def test_the_log_files_are_those_that_the_agent_reads_each_as_a_stream_of_its_own() -> None:
    agent = json.loads((IMAGE / "files/cloudwatch-agent/amazon-cloudwatch-agent.json").read_text())
    collected = agent["logs"]["logs_collected"]["files"]["collect_list"]
    written = [read(unit)["Service"]["StandardOutput"][0].removeprefix("append:") for unit in LOGS]
    assert [entry["file_path"] for entry in collected] == written
    assert len({entry["log_stream_name"] for entry in collected}) == len(written)
    assert {entry["log_group_name"] for entry in collected} == {"${LOG_GROUP}"}
    assert {str(Path(file).parent / "*.log") for file in written} == {"/var/log/voicefleet/*.log"}
    assert "/var/log/voicefleet/*.log" in (UNITS / "voicefleet.logrotate").read_text()


def test_the_folders_that_units_need_before_they_start_are_made_at_every_boot() -> None:
    lines = (UNITS / "voicefleet.tmpfiles").read_text().splitlines()
    made = {line.split()[1] for line in lines if not line.startswith("#")}
    logs = read("voicefleet-logs.service")["Service"]["StandardOutput"][0].removeprefix("append:")
    assert made == {str(Path(logs).parent), MODEL_CACHE}
    assert words("voicefleet-models.service", "Service", "ReadWritePaths") == {MODEL_CACHE}
    assert words("mnt-nvme.mount", "Mount", "Where") == {MODEL_CACHE}
