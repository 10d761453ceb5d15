"""A machine with NVMe disks under QEMU, without KVM: it runs on any Linux, slowly.

Its clock counts instructions (`-icount`, 1 ns each): to whoever is inside, the machine has one steady core, however
slow or busy the host is, and every time-out and watchdog means what it means on a node. Seconds told inside are of
that clock.

It reaches nothing but what is forwarded to the host's loopback: its metadata service at 169.254.169.254 as on EC2, AWS
at .10, Bedrock at .11, a model hub at .12. A guest agent runs commands in it, as SSH is closed.
"""

import base64
import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from tests.support.boot.root_disk import RootDisk
from tests.support.ports import free_ports

IMDS, AWS, BEDROCK, HUB = "169.254.169.254", "169.254.169.10", "169.254.169.11", "169.254.169.12"
_NETWORK = "net=169.254.169.0/24,host=169.254.169.2,dns=169.254.169.3,dhcpstart=169.254.169.100,restrict=on"
_KERNEL = "root=/dev/vda rw console=ttyS0 net.ifnames=0 loglevel=4 systemd.show_status=1"
_EC2_UUID = "ec2e1916-9099-7caf-fd21-012345abcdef"  # by which cloud-init knows that it is on EC2
_AGENT_SECONDS = 5.0
_STOP_SECONDS = 30.0


class CommandFailed(Exception):
    """A command in the machine ended with an error; the message holds what it wrote."""


@dataclass(frozen=True)
class Machine:
    """A machine that runs. `websocket` and `http` are the node's ports on this host."""

    folder: Path
    websocket: str
    http: str

    def run(self, command: str, seconds: float = 300.0) -> str:
        """What a shell command writes in the machine. Raises `CommandFailed`, or `TimeoutError` after so long."""
        deadline = time.monotonic() + seconds
        with _Agent(self.folder / "agent.sock", deadline) as agent:
            arguments = {"path": "/bin/bash", "arg": ["-c", command], "capture-output": True}
            process = agent.ask("guest-exec", **arguments)["pid"]
            while not (status := agent.ask("guest-exec-status", pid=process))["exited"]:
                time.sleep(0.2)
        output, errors = (base64.b64decode(status.get(name, "")).decode() for name in ("out-data", "err-data"))
        if status.get("exitcode"):
            raise CommandFailed(f"{command}: {output}{errors}")
        return output

    def get(self, path: str) -> tuple[int, str]:
        """The HTTP status and the body of an address of the node's HTTP side; status 0 where nothing answers."""
        try:
            with urlopen(self.http + path, timeout=20) as response:
                return response.status, response.read().decode()
        except HTTPError as refused:
            return refused.code, refused.read().decode()
        except (URLError, OSError):
            return 0, ""

    def reboot(self) -> None:
        """As EC2 does when it is asked to: the disks stay."""
        before = self.run("cat /proc/sys/kernel/random/boot_id")
        with _Agent(self.folder / "agent.sock", time.monotonic() + 60) as agent:
            agent.tell("guest-shutdown", mode="reboot")
        deadline = time.monotonic() + 300
        while True:
            try:
                if self.run("cat /proc/sys/kernel/random/boot_id", 10) != before:
                    return
            except (TimeoutError, ConnectionError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)

    @property
    def console(self) -> str:
        """What it wrote to its serial port."""
        return (self.folder / "console.log").read_text(encoding="utf-8", errors="replace")


class _Agent:
    """A conversation with QEMU's guest agent: a line of JSON out, a line back."""

    def __init__(self, address: Path, deadline: float) -> None:
        self._deadline = deadline
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(address))
        self._lines: Iterator[dict[str, Any]] = iter(())

    def __enter__(self) -> "_Agent":
        """Wait until the agent is there. What an earlier conversation has left unread goes by."""
        number = 0
        while True:
            number += 1
            self.tell("guest-sync", id=number)
            try:
                while self._read(_AGENT_SECONDS).get("return") != number:
                    pass
            except TimeoutError:
                if time.monotonic() > self._deadline:
                    self._socket.close()
                    raise
            else:
                return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def tell(self, command: str, **arguments: Any) -> None:
        """Send a command that has no answer, or whose answer comes later."""
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")

    def ask(self, command: str, **arguments: Any) -> Any:
        """Send a command; gives what it returns. Raises `TimeoutError` at the deadline."""
        self.tell(command, **arguments)
        answer = self._read(self._deadline - time.monotonic())
        if "return" not in answer:
            raise CommandFailed(f"{command}: {answer}")
        return answer["return"]

    def _read(self, seconds: float) -> dict[str, Any]:
        self._socket.settimeout(max(seconds, 0.01))
        line = b""
        while not line.endswith(b"\n"):
            byte = self._socket.recv(1)
            if not byte:
                raise ConnectionError("QEMU has ended")
            line += byte
        answer: dict[str, Any] = json.loads(line)
        return answer


def blank_disk(path: Path, gib: int = 2) -> Path:
    """An empty disk image; it takes no space until it is written to."""
    with path.open("wb") as file:
        file.truncate(gib << 30)
    return path


@contextmanager
def running_machine(
    disk: RootDisk, folder: Path, *, nvme: Sequence[Path], services: Mapping[str, int]
) -> Iterator[Machine]:
    """Boot it, with the NVMe disks and with ports of this host's as `services` at addresses on its network."""
    root = folder / "root.qcow2"
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", disk.image, root], check=True, timeout=60
    )
    ports = free_ports(2)
    forwards = [f"hostfwd=tcp:127.0.0.1:{here}-:{there}" for here, there in zip(ports, (9000, 9001), strict=True)]
    forwards += [f"guestfwd=tcp:{address}:80-cmd:socat - TCP:127.0.0.1:{port}" for address, port in services.items()]
    command = ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64"]  # not to outlive a test run that is killed
    command += ["-machine", "q35", "-accel", "tcg,thread=single,tb-size=1024", "-icount", "shift=0", "-cpu", "max"]
    command += ["-smp", "1", "-m", "4096", "-display", "none", "-nodefaults"]
    command += ["-smbios", f"type=1,serial={_EC2_UUID},uuid={_EC2_UUID}"]
    command += ["-kernel", str(disk.kernel), "-initrd", str(disk.initrd), "-append", _KERNEL]
    command += ["-drive", f"file={root},if=virtio,format=qcow2,cache=unsafe", "-device", "virtio-rng-pci"]
    for number, image in enumerate(nvme):
        command += ["-drive", f"file={image},if=none,id=nvme{number},format=raw,cache=unsafe"]
        command += ["-device", f"nvme,drive=nvme{number},serial=instance-store-{number}"]
    command += ["-netdev", ",".join([f"user,id=net,{_NETWORK}", *forwards]), "-device", "virtio-net-pci,netdev=net"]
    command += ["-chardev", f"socket,id=agent,path={folder}/agent.sock,server=on,wait=off"]
    command += ["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"]
    command += ["-serial", f"file:{folder}/console.log"]
    with (folder / "qemu.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait_for_agent_socket(folder / "agent.sock", process)
            yield Machine(folder, f"ws://127.0.0.1:{ports[0]}/v1/realtime", f"http://127.0.0.1:{ports[1]}")
        finally:
            process.terminate()
            process.wait(_STOP_SECONDS)


def _wait_for_agent_socket(address: Path, process: "subprocess.Popen[bytes]") -> None:
    while not address.exists():
        assert process.poll() is None, "QEMU ended at its start; see qemu.log"
        time.sleep(0.1)
