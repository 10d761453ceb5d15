"""Programs that only a distribution has, and which of its packages brings each."""

import shutil
import sys
from pathlib import Path

SHELLCHECK, SHFMT = (str(Path(sys.executable).with_name(name)) for name in ("shellcheck", "shfmt"))
"""These two come in wheels."""

PACKAGES = {"packer": "packer", "systemd-analyze": "systemd", "systemd-sysusers": "systemd", "sshd": "openssh-server"}
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # sshd is in none but root's


def missing(programs: tuple[str, ...]) -> str:
    """What is not there, and how it can be had, in a line; empty if all are there."""
    lacking = [program for program in programs if not (shutil.which(program) or shutil.which(program, path=_PATH))]
    if not lacking:
        return ""
    packages = " ".join(PACKAGES[program] for program in lacking)
    return f"needs {', '.join(lacking)}, which this machine lacks: apt-get install {packages}"
