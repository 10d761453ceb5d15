"""A real node in a process of its own: `voicefleet serve` with the test's settings, real workers and real models."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

_START_SECONDS = 90.0
_STOP_SECONDS = 20.0


@dataclass
class NodeProcess:
    """A node that serves. `log` holds every line that it wrote so far."""

    process: subprocess.Popen[str]
    websocket: str = ""
    http: str = ""
    log: list[str] = field(default_factory=list)

    @property
    def base_url(self) -> str:
        """What clients call the base URL: up to and including /v1."""
        return self.websocket.removesuffix("/realtime")

    def get(self, path: str) -> tuple[int, str]:
        """The HTTP status and the body of an address of its HTTP side."""
        try:
            with urlopen(self.http + path, timeout=10) as response:
                return response.status, response.read().decode()
        except HTTPError as refused:
            return refused.code, refused.read().decode()

    def metric(self, name: str, **labels: str) -> float:
        """A sample's value now; 0 where there is none."""
        for family in text_string_to_metric_families(self.get("/metrics")[1]):
            for sample in family.samples:
                if sample.name == name and sample.labels.items() >= labels.items():
                    return sample.value
        return 0.0

    async def until(self, condition: Callable[[], object], seconds: float = 15.0) -> None:
        """Wait until `condition()` holds."""
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110  # what is waited for happens in another process
                await asyncio.sleep(0.02)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What it logged so far."""
        return [json.loads(line) for line in list(self.log) if line.startswith("{")]

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines of that event."""
        return [line for line in self.lines if line["event"] == name]


@contextmanager
def quick_speech() -> Iterator[dict[str, str]]:
    """The stand-ins for both speech workers, for nodes whose speech is not under test; gives a node's variables."""
    with tempfile.TemporaryDirectory(prefix="voice") as folder:
        socket = f"{folder}/speech.sock"
        process = subprocess.Popen([sys.executable, "-m", "tests.support.speech_workers", "--socket", socket])
        try:
            yield {"VOICE_STT_ADDRESS": f"unix:{socket}", "VOICE_TTS_ADDRESS": f"unix:{socket}"}
        finally:
            process.terminate()
            process.wait(_STOP_SECONDS)


@contextmanager
def running_node(**variables: str) -> Iterator[NodeProcess]:
    """Run a node with these VOICE_* (or other) variables, on free ports, until the block ends."""
    environment = {name: value for name, value in os.environ.items() if name != "VOICE_LLM"} | variables
    process = subprocess.Popen(
        [sys.executable, "-m", "server.main", "serve", "--port", "0", "--http-port", "0"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    node = NodeProcess(process)
    serving = threading.Event()
    reader = threading.Thread(target=_read_log, args=(node, serving))
    reader.start()
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not serving.wait(0.1):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the node did not start:\n" + "".join(node.log))
        yield node
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join()


def _read_log(node: NodeProcess, serving: threading.Event) -> None:
    assert node.process.stderr
    for line in node.process.stderr:
        node.log.append(line)
        if '"node_serving"' in line:
            event = json.loads(line)
            node.websocket, node.http = event["websocket"], event["http"]
            serving.set()
