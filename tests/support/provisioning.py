"""A system to provision that is none: the machine's own programs over an empty tree, and stand-ins for what would
install, enable or download. A stand-in writes down what it was asked and remembers what is then installed.

What the scripts themselves do (which file goes where with which mode, what is asked of whom, in what order, and what
is left alone the second time) is real. That the packages exist and fit each other is not shown here.
"""

import hashlib
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PROVISION_SECONDS = 60.0
SIGNED_ARCHIVE = """# NVIDIA's
Types: deb
URIs: https://archive.example/ubuntu2404
Suites: /
Signed-By: /etc/apt/keyrings/nvidia.asc
"""
_DRIVER = "580.95.05"
_STOOD_IN = (
    "apt-get",
    "apt-mark",
    "cloud-init",
    "dpkg-deb",
    "dpkg-query",
    "linux-version",
    "modinfo",
    "python3",
    "systemctl",
    "systemd-sysusers",
)
_STAND_IN = r"""#!/bin/bash
set -euo pipefail
name=$(basename "$0")
echo "$name $*" >>/asked
state=/state
touch "$state/installed"
case "$name $*" in
  apt-get*" install "*)
    for word in "$@"; do
      case $word in
        -* | DPkg* | install) ;;
        */amazon-cloudwatch-agent.deb) cat "$word" >>"$state/installed" ;;
        *=*) echo "$word" >>"$state/installed" ;;
        *) echo "$word=1" >>"$state/installed" ;;
      esac
    done
    ;;
  apt-get*" purge "*)
    for word in "$@"; do sed -i "/^$word=/d" "$state/installed"; done
    ;;
  dpkg-deb*) cat "${!#}" ;;
  dpkg-query*Upstream-Version*) cat "$state/programs" ;;
  dpkg-query*"{Package}"*) sed -E 's/^(.*)=.*$/installed \1/' "$state/installed" ;;
  dpkg-query*)
    found=$(grep -m1 "^${!#}=" "$state/installed") || exit 1
    echo "installed ${found#*=}"
    ;;
  "linux-version list") echo 6.17.0-1009-aws ;;
  "linux-version sort") cat ;;
  modinfo*) cat "$state/module" ;;
  python*"-m venv "*)
    mkdir -p "${!#}/bin" "${!#}/lib/python3.12/site-packages"
    cp "$0" "${!#}/bin/python"
    cp "$0" "${!#}/bin/voicefleet"
    ;;
  python*" pip wheel "*)
    while [[ $1 != --wheel-dir ]]; do shift; done
    touch "$2/voicefleet-0.1.0-py3-none-any.whl"
    ;;
  python*lean_root*) echo lean ;;
  "voicefleet models compile")
    if [[ -e $state/no-compile ]]; then
      echo "error: torch.compile can't compile snake on cuda" >&2
      exit 1
    fi
    ;;
esac
"""
# In a mount namespace of its own, so that nothing of it is left: the programs read-only, everything else from the tree.
_ENTER = """
set -e
mount --make-rprivate /
mount --bind /usr "$1/usr"
mount -o remount,bind,ro "$1/usr"
mount --bind "$1/usr-local" "$1/usr/local"
mount --rbind /dev "$1/dev"
mount --rbind /proc "$1/proc"
exec /usr/sbin/chroot "$1" /usr/bin/env -i PATH=/stand-in:/usr/bin:/usr/sbin PACKAGE_SOURCES=/sources "${@:2}"
"""


@dataclass(frozen=True)
class System:
    """The tree, with the repository's `image/` and what it needs in /voicefleet and a builder's folder in /sources."""

    root: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside."""
        return subprocess.run(
            [
                "unshare",
                "--user",
                "--map-root-user",
                "--mount",
                "bash",
                "-c",
                _ENTER,
                "enter",
                str(self.root),
                *command,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_PROVISION_SECONDS,
            check=False,
        )

    def provision(self, **variables: str) -> list[str]:
        """Provision it; gives what was asked of the stand-ins."""
        (self.root / "asked").unlink(missing_ok=True)
        words = [f"{name}={value}" for name, value in variables.items()]
        result = self.run("env", *words, "/voicefleet/image/provision/provision.sh", "--this-machine")
        if result.returncode:
            raise ProvisioningFailed(result.stdout)
        return (self.root / "asked").read_text(encoding="utf-8").splitlines()

    def pin_agent(self, content: str) -> None:
        """What a builder does who has checked the agent's file: its hash stands in `versions.env`."""
        self.pin(CLOUDWATCH_AGENT_SHA256=hashlib.sha256(content.encode()).hexdigest())

    def pin(self, **pins: str) -> None:
        """Change what `versions.env` pins."""
        path = self.root / "voicefleet/image/versions.env"
        content = path.read_text(encoding="utf-8")
        for name, value in pins.items():
            content, count = re.subn(rf"^{name}=.*$", f"{name}={value}", content, flags=re.MULTILINE)
            assert count == 1
        path.write_text(content, encoding="utf-8")

    def tree(self) -> dict[str, tuple[int, bytes]]:
        """Mode and content of every file that provisioning could have written."""
        return {
            str(path.relative_to(self.root)): (path.stat().st_mode & 0o777, path.read_bytes())
            for top in ("etc", "opt", "root", "usr-local", "var")
            for path in sorted((self.root / top).rglob("*"))
            if path.is_file()
        }


class ProvisioningFailed(Exception):
    """A script ended with an error; the message holds all that was written."""


def system(root: Path) -> System:
    """A system that nobody has provisioned yet: a fresh Ubuntu's few files, and package sources of all kinds."""
    for folder in (
        "dev",
        "etc",
        "opt",
        "proc",
        "root/.cache",
        "sources",
        "stand-in",
        "state",
        "tmp",
        "usr",
        "var/log",
    ):
        (root / folder).mkdir(parents=True)
    (root / "usr-local").mkdir()
    agent = f"amazon-cloudwatch-agent={versions()['CLOUDWATCH_AGENT']}\n"
    for name in ("bin", "lib", "lib64", "sbin"):
        (root / name).symlink_to(f"usr/{name}")
    for path, content in {
        "etc/machine-id": "0123456789abcdef\n",
        "root/.cache/pip": "what nobody needs\n",
        "var/log/syslog": "of the build\n",
        "sources/nvidia.sources": SIGNED_ARCHIVE,
        "sources/nvidia.asc": "a key\n",
        "sources/pip.conf": "[global]\n",
        "sources/amazon-cloudwatch-agent.deb": agent,
        "state/module": f"{_DRIVER}\n",
        "state/programs": f"{_DRIVER}\n",
    }.items():
        (root / path).write_text(content, encoding="utf-8")
    for name in _STOOD_IN:
        (root / "stand-in" / name).write_text(_STAND_IN, encoding="utf-8")
        (root / "stand-in" / name).chmod(0o755)
    for name in ("image", "requirements", "pyproject.toml", "server/__init__.py"):
        here, there = ROOT / name, root / "voicefleet" / name
        if here.is_dir():
            shutil.copytree(here, there)
        else:
            there.parent.mkdir(exist_ok=True)
            shutil.copy(here, there)
    made = System(root)
    made.pin_agent(agent)
    return made


def versions() -> dict[str, str]:
    """What `image/versions.env` pins, by name."""
    lines = (ROOT / "image" / "versions.env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
