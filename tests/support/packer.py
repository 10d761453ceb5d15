"""Packer as a distribution brings it, and a machine for it to build on: an SSH server of the tests' own user.

What starts is a server on a free port of loopback that runs each command in one folder, where Packer's relative paths
end up. Nothing that Packer would change on a machine is changed on this one.
"""

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import free_ports

ROOT = Path(__file__).parents[2]
BODY = ROOT / "packer.pkr.hcl"
_START_SECONDS = 20.0
_PACKER_SECONDS = 180.0
_STOP_SECONDS = 10.0


def body() -> str:
    """The file as Packer 1.6 reads it: without the block that names plugins, which it has built in."""
    text, count = re.subn(
        r"^packer \{\n.*?^\}\n\n", "", BODY.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    assert count == 1
    return text


def packer(*arguments: str, folder: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run it in the folder, with these variables of the environment and none of the user's own settings."""
    return subprocess.run(
        ["packer", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "CHECKPOINT_DISABLE": "1", "PACKER_NO_COLOR": "1"}
        | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_PACKER_SECONDS,
        check=False,
    )


@dataclass(frozen=True)
class Machine:
    """Where the server listens, and the key that it takes."""

    port: int
    key: Path
    folder: Path


@contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """A server until the block ends; its commands run in `folder`/home."""
    home = folder / "home"
    home.mkdir(parents=True)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd insists on it where it could drop privileges
    (port,) = free_ports(1)
    configuration = folder / "sshd_config"
    configuration.write_text(
        f"""ListenAddress 127.0.0.1:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
StrictModes no
PermitRootLogin yes
UsePAM no
ForceCommand cd {home} && eval "$SSH_ORIGINAL_COMMAND"
""",
        encoding="utf-8",
    )
    with (folder / "sshd.log").open("w", encoding="utf-8") as log:
        server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", configuration], stdout=log, stderr=log)
        try:
            _wait_for(port, server)
            yield Machine(port, folder / "user", home)
        finally:
            server.terminate()
            server.wait(_STOP_SECONDS)


def _wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        assert server.poll() is None, "sshd ended at its start; see sshd.log"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"no SSH server on port {port} in {_START_SECONDS:g} s")
