"""Programs that only a distribution has, and which of its packages brings each; and what its kernel has to allow."""

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

SHELLCHECK, SHFMT = (str(Path(sys.executable).with_name(name)) for name in ("shellcheck", "shfmt"))
"""These two come in wheels."""

NAMESPACES = "user namespaces"
"""What lets anyone mount and chroot, as `unshare --user` does; some containers and systems forbid it."""

PACKAGES = {
    "apt-get": "apt",
    "packer": "packer",
    "systemd-analyze": "systemd",
    "systemd-sysusers": "systemd",
    "sshd": "openssh-server",
    "nft": "nftables",
    "ip": "iproute2",
    "faketime": "faketime",
    "chromium": "chromium",
}
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # sshd and others are in none but root's
_ALLOW_NAMESPACES = "run as root, or sysctl kernel.apparmor_restrict_unprivileged_userns=0"


def missing(needed: tuple[str, ...]) -> str:
    """What of these programs, and NAMESPACES, is not there, and how it can be had, in a line; empty if all are."""
    lacking = [name for name in needed if not _present(name)]
    if not lacking:
        return ""
    packages = " ".join(PACKAGES[name] for name in lacking if name in PACKAGES)
    ways = [f"apt-get install {packages}"] if packages else []
    ways += [_ALLOW_NAMESPACES] if NAMESPACES in lacking else []
    return f"needs {', '.join(lacking)}, which this machine lacks: {'; '.join(ways)}"


@cache
def _present(name: str) -> bool:
    if name == NAMESPACES:
        return shutil.which("unshare") is not None and not subprocess.call(
            ["unshare", "--user", "--map-root-user", "--mount", "true"], stderr=subprocess.DEVNULL
        )
    return bool(shutil.which(name) or shutil.which(name, path=_PATH))
