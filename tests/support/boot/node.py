"""A node that boots on an instance of the fleet, looked at from outside and from inside."""

import re
import time
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infra.metrics import MODEL_CACHE
from server.audio.wav import read_wav
from server.client.caller import WIRE_RATE
from tests.support.boot.fleet import Fleet
from tests.support.boot.machine import AWS, BEDROCK, HUB, IMDS, CommandFailed, Machine, running_machine
from tests.support.boot.root_disk import ROOT, RootDisk
from tests.support.boot.timeline import record
from tests.support.cloud.account import REGION
from tests.support.fleet import Instance
from tests.support.imds import fake_imds
from tests.support.live_call import answer_text, live_call

BOOT_SECONDS = 3000.0  # of this host's: what takes a minute on a g5 takes a while under emulation
_ANSWER_SECONDS = 900.0
_QUESTION = ROOT / "server/demo/question.wav"


@dataclass
class BootedNode:
    """A node's machine, and its instance as AWS sees it."""

    machine: Machine
    instance: Instance
    started: float

    def until_ready(self, name: str) -> None:
        """Wait until it takes calls; its boot goes into the table at the end under that name."""
        deadline = time.monotonic() + BOOT_SECONDS
        while self.machine.get("/ready")[0] != 200:
            assert time.monotonic() < deadline, f"{name}: not ready\n{self.machine.console[-3000:]}\n{self.journal()}"
            time.sleep(2)
        host_seconds = time.monotonic() - self.started
        self.until("systemctl is-active voicefleet-boot-report.service")
        assert record(name, self.machine, host_seconds).ready > 0

    def until(self, command: str, seconds: float = 300.0) -> str:
        """Wait until a command in the machine succeeds; gives what it wrote."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self.machine.run(command)
            except CommandFailed:
                if time.monotonic() > deadline:
                    raise
                time.sleep(2)

    def journal(self) -> str:
        return self.machine.run("journalctl --boot --no-pager --output=cat --unit='voicefleet*' | tail -80")

    def metric(self, name: str) -> str:
        """A sample's value as node_exporter serves it."""
        return self.machine.run(f"curl --silent 127.0.0.1:9100/metrics | sed -n 's/^{name} //p'").strip()

    def cache(self) -> dict[str, str]:
        """What is mounted where the models lie."""
        found = self.machine.run(f"findmnt --noheadings --raw --output FSTYPE,SOURCE --target {MODEL_CACHE}")
        kind, source = found.split()
        return {"type": kind, "source": source}

    def hashes(self, *models: str) -> dict[str, str]:
        """SHA-256 of the models' files, computed in the machine, by path."""
        lines = self.machine.run(
            f"cd {MODEL_CACHE}/models && sha256sum $(find {' '.join(models)} -type f)"
        ).splitlines()
        return {path: sha256 for sha256, path in (line.split() for line in lines)}


@contextmanager
def booted(
    fleet: Fleet, disk: RootDisk, folder: Path, nvme: list[Path], settings: Mapping[str, str] | None = None
) -> Iterator[BootedNode]:
    """Boot an instance of the fleet with its own user data, in which `settings` replace what the stack chose."""
    with fake_imds(instance_id=fleet.waiting(), region=REGION) as imds:
        imds.user_data = fleet.user_data(imds.instance_id)
        for name, value in (settings or {}).items():
            imds.user_data, count = re.subn(rf"^{name}=.*$", f"{name}={value}", imds.user_data, flags=re.MULTILINE)
            assert count == 1
        services = {IMDS: imds.url, AWS: fleet.deployed.cloud.url, BEDROCK: fleet.bedrock.url, HUB: fleet.hub.url}
        ports = {address: int(url.rpartition(":")[2]) for address, url in services.items()}
        started = time.monotonic()
        with running_machine(disk, folder, nvme=nvme, services=ports) as machine:
            instance = Instance(fleet.deployed.cloud, fleet.deployed.name, imds.instance_id, imds)
            yield BootedNode(machine, instance, started)


@dataclass(frozen=True)
class Call:
    """What the node understood, what it answered, and how that sounds at 24 kHz."""

    heard: str
    answer: str
    audio: NDArray[np.int16]


async def spoken_question(node: BootedNode, key: str) -> Call:
    """Ask the demonstration's question aloud."""
    headers = {"Authorization": f"Bearer {key}"}
    url, waits = node.machine.websocket, _ANSWER_SECONDS
    async with live_call(url, patience=waits, open_timeout=waits, additional_headers=headers) as caller:
        await caller.update(audio={"input": {"transcription": {"model": "whisper-1"}}})  # to be told what was heard
        question, rate = read_wav(_QUESTION)
        assert rate == WIRE_RATE
        # And then no more frames: to a machine whose clock is slow, a caller in real time is ten at once.
        await caller.say(question.tobytes())
        answer = (await caller.until("response.done"))["response"]
    assert answer["status"] == "completed", answer
    heard = [event["transcript"] for event in caller.events if event["type"].endswith("transcription.completed")]
    audio = [b64decode(event["delta"]) for event in caller.events if event["type"] == "response.output_audio.delta"]
    return Call(" ".join(heard), answer_text(answer), np.frombuffer(b"".join(audio), "<i2"))
