"""`packer.pkr.hcl`, by a real Packer: it is valid, names a wrong variable, and builds against AWS on loopback."""

import getpass
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import packer as tool
from tests.support.cloud.account import REGION
from tests.support.cloud.deploy import Cloud, running_cloud

OWN_ADDRESS = "198.51.100.7"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
CANONICAL = "099720109477"
NEWEST = "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20260810"
PROVISION = "sudo PACKAGE_SOURCES=$PWD/package-sources voicefleet/image/provision/"
FIRST, REBOOT, ALL = f"{PROVISION}$step.sh", "sudo systemctl reboot", f"{PROVISION}provision.sh --this-machine"
REPORTS = "/usr/local/share/voicefleet/image"
WRITTEN = "lean-root.txt sbom-dpkg.cdx.json sbom-python.cdx.json"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout with what the file reads, and a folder of package sources beside it."""
    folder = tmp_path / "project"
    (folder / "image").mkdir(parents=True)
    for name in ("versions.env", "publish.py", "require_imdsv2.py", "retire.py"):
        (folder / "image" / name).write_bytes((tool.ROOT / "image" / name).read_bytes())
    (folder / "packer.pkr.hcl").write_text(tool.body(), encoding="utf-8")
    (folder / "sources").mkdir()
    (folder / "sources" / "gpu.sources").write_text("Types: deb\n", encoding="utf-8")
    return folder


def validate(project: Path, **variables: str) -> str:
    """What Packer has to say about them; nothing, if they are right."""
    chosen = {"environment": "prod", "git_commit": COMMIT, "package_sources": "sources", "own_address": OWN_ADDRESS}
    chosen |= variables
    given = [word for name, value in chosen.items() for word in ("-var", f"{name}={value}")]
    result = tool.packer("validate", *given, "packer.pkr.hcl", folder=project, variables={})
    assert (result.returncode == 0) == (not result.stdout.strip()), result.stdout
    return result.stdout


@pytest.mark.needs("packer")
def test_it_is_valid(project: Path) -> None:
    assert validate(project) == ""


@pytest.mark.needs("packer")
def test_it_is_formatted_as_packer_does(project: Path) -> None:
    result = tool.packer("fmt", "-check", "-diff", "packer.pkr.hcl", folder=project, variables={})
    assert result.returncode == 0, result.stdout


@pytest.mark.needs("packer")
@pytest.mark.parametrize(
    ("variable", "wrong", "message"),
    [
        ("environment", "Prod", "The environment must be a name such as prod"),
        ("git_commit", "main", "The git_commit must be 40 hexadecimal digits"),
        ("package_sources", "", "The package_sources must name a folder"),
        ("region", "virginia", "The region must be the name of an AWS region"),
        ("subnet_id", "10.0.0.0/24", "The subnet_id must be such as"),
        ("own_address", "0.0.0.0", "The own_address must be one IPv4 address"),
        ("own_address", "198.51.100.0/24", "The own_address must be one IPv4 address"),
        ("own_address", "", "The own_address must be one IPv4 address"),
        ("instance_type", "p4d.24xlarge", "The instance_type must be of g5, g6 or g6e"),
        ("root_gib", "8", "The root_gib must be between 16 and 1000"),
    ],
)
def test_a_wrong_variable_is_refused_by_name(project: Path, variable: str, wrong: str, message: str) -> None:
    assert message in validate(project, **{variable: wrong})


def test_every_variable_says_what_it_is_for() -> None:
    variables = re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', tool.body(), flags=re.DOTALL | re.MULTILINE)
    assert variables
    assert [name for name, block in variables if "description" not in block] == []


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """An account that sees Ubuntu's images, an older one among them, and somebody else's of a newer name."""
    images = [
        _image("ami-00000000000000001", CANONICAL, NEWEST.replace("0810", "0701"), "2026-07-01"),
        _image("ami-00000000000000002", CANONICAL, NEWEST, "2026-08-10"),
        _image("ami-00000000000000003", "666666666666", NEWEST.replace("0810", "0901"), "2026-09-01"),
    ]
    path = tmp_path / "images.json"
    path.write_text(json.dumps(images), encoding="utf-8")
    monkeypatch.setenv("MOTO_AMIS_PATH", str(path))
    home = tmp_path / "cloud"
    home.mkdir()
    with running_cloud(home) as running:
        yield running


def _image(image_id: str, owner: str, name: str, day: str) -> dict[str, Any]:
    return {
        "ami_id": image_id,
        "name": name,
        "description": "Ubuntu",
        "owner_id": owner,
        "public": True,
        "virtualization_type": "hvm",
        "architecture": "x86_64",
        "state": "available",
        "platform": None,
        "image_type": "machine",
        "hypervisor": "xen",
        "root_device_name": "/dev/sda1",
        "root_device_type": "ebs",
        "sriov": "simple",
        "creation_date": f"{day}T00:00:00.000Z",
    }


LOOK = f"""
import json, sys
import boto3
groups = boto3.client("ec2", region_name="{REGION}").describe_security_groups()["SecurityGroups"]
rules = [rule for group in groups if group["GroupName"].startswith("packer_") for rule in group["IpPermissions"]]
json.dump(rules, open(sys.argv[1], "w"))
"""


@dataclass(frozen=True)
class Build:
    """What a build has left: in the account, on the machine it built on, and here."""

    cloud: Cloud
    commit: str
    machine: Path
    seen: Path
    dist: Path
    rules: list[dict[str, Any]]


@pytest.fixture
def build(project: Path, cloud: Cloud, tmp_path: Path) -> Build:
    """A build of the committed tree, on a stand-in for the instance, with a stand-in for what provisions it."""
    commit = _committed(project)
    (project / "image" / "not-committed").touch()
    reports = tmp_path / "reports"
    with tool.machine(tmp_path / "machine") as machine:
        stand_in = f"mkdir {reports} && cp -r voicefleet package-sources {reports} && (cd {reports} && touch {WRITTEN})"
        text = tool.body()
        for real, stood_in in {
            FIRST: f"echo $step >>{reports}.steps",
            REBOOT: f"echo reboot >>{reports}.steps",
            ALL: stand_in,
            REPORTS: str(reports),
            '"20s"': '"0s"',
        }.items():
            assert text.count(real) == 1
            text = text.replace(real, stood_in)
        overrides = f"""
  custom_endpoint_ec2     = "{cloud.url}"
  skip_region_validation  = true
  skip_metadata_api_check = true
  ssh_host                = "127.0.0.1"
  ssh_port                = {machine.port}
  ssh_private_key_file    = "{machine.key}"
"""
        text = text.replace('source "amazon-ebs" "node" {', f'source "amazon-ebs" "node" {{{overrides}', 1)
        text = text.replace('"ubuntu"\n', f'"{getpass.getuser()}"\n', 1)
        # What may reach the machine while it is built on: afterwards the security group is gone.
        looks = (
            f'\n\n  provisioner "shell-local" {{\n    inline = ["\'{sys.executable}\' look.py {reports}.json"]\n  }}'
        )
        text = text.replace('sources = ["source.amazon-ebs.node"]', f'sources = ["source.amazon-ebs.node"]{looks}', 1)
        (project / "look.py").write_text(LOOK, encoding="utf-8")
        (project / "build.pkr.hcl").write_text(text, encoding="utf-8")
        given = {
            "environment": "dev",
            "git_commit": commit,
            "package_sources": "sources",
            "own_address": OWN_ADDRESS,
            "python": sys.executable,
        }
        words = [word for name, value in given.items() for word in ("-var", f"{name}={value}")]
        result = tool.packer("build", *words, "build.pkr.hcl", folder=project, variables=cloud.variables)
    assert result.returncode == 0, result.stdout
    rules = json.loads(reports.with_suffix(".json").read_text())
    return Build(cloud, commit, machine.folder, reports, project / "dist" / "image", rules)


def _committed(project: Path) -> str:
    git = ["git", "-C", str(project), "-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "image"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "The image"], check=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.needs("packer", "sshd")
def test_a_build_makes_an_image_and_tells_the_fleet(build: Build) -> None:
    ec2 = build.cloud.client("ec2")
    (image,) = ec2.describe_images(Owners=["self"])["Images"]
    value = build.cloud.client("ssm").get_parameter(Name="/voicefleet/dev/ami")["Parameter"]["Value"]
    assert value == image["ImageId"]

    tags = {tag["Key"]: tag["Value"] for tag in image["Tags"]}
    assert tags["Name"] == "voicefleet-dev"
    assert tags["git-commit"] == build.commit
    assert (tags["cuda"], tags["driver"]) == ("12.8", "580-server")
    assert (tags["source-image"], tags["source-image-name"]) == ("ami-00000000000000002", NEWEST)

    assert tags["voicefleet:env"] == "dev"
    (snapshot,) = ec2.describe_snapshots(Filters=[{"Name": "tag:voicefleet:env", "Values": ["dev"]}])["Snapshots"]
    assert snapshot["SnapshotId"] == image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]

    (built,) = json.loads((build.dist / "manifest.json").read_text())["builds"]
    assert built["artifact_id"] == f"{REGION}:{image['ImageId']}"
    assert built["custom_data"] == {"environment": "dev", "git_commit": build.commit}

    (reservation,) = ec2.describe_instances()["Reservations"]
    (instance,) = reservation["Instances"]
    assert instance["State"]["Name"] == "terminated"
    assert instance["InstanceType"] == "g5.xlarge"
    assert instance["MetadataOptions"]["HttpTokens"] == "required"

    (rule,) = build.rules
    assert [block["CidrIp"] for block in rule["IpRanges"]] == [f"{OWN_ADDRESS}/32"]

    steps = build.seen.with_suffix(".steps").read_text().split()
    assert steps == ["00-sources", "10-base", "20-driver", "reboot"]
    assert [step for step in steps[:-1] if not (tool.ROOT / f"image/provision/{step}.sh").exists()] == []

    # What is committed, and the builder's package sources, reached the machine; nothing stayed on it.
    assert sorted(path.name for path in (build.seen / "voicefleet" / "image").iterdir()) == [
        "publish.py",
        "require_imdsv2.py",
        "retire.py",
        "versions.env",
    ]
    assert (build.seen / "package-sources" / "gpu.sources").exists()
    assert list(build.machine.iterdir()) == []
    assert {path.name for path in build.dist.iterdir()} >= {"manifest.json", *WRITTEN.split()}
