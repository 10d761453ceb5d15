"""A real node in a process of its own: `voicefleet serve` with the test's settings, real workers and real models."""

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from server.client import local_node

_STOP_SECONDS = 20.0


@dataclass
class NodeProcess:
    """A node that serves. `log` holds every line that it wrote so far."""

    process: "subprocess.Popen[str]"
    websocket: str
    http: str
    log: list[str]

    @property
    def base_url(self) -> str:
        """What clients call the base URL: up to and including /v1."""
        return self.websocket.removesuffix("/realtime")

    @property
    def twilio(self) -> str:
        """Where Twilio calls it."""
        return self.websocket.replace("/v1/realtime", "/twilio")

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
        """The log lines of that event so far. What a client was told may be logged, and not be read here yet."""
        return [line for line in self.lines if line["event"] == name]

    async def logged(self, name: str, after: int = 0) -> dict[str, Any]:
        """The newest log line of that event, as soon as there are more than `after` of them."""
        await self.until(lambda: len(self.events(name)) > after)
        return self.events(name)[-1]


@contextmanager
def quick_speech(*options: str) -> Iterator[dict[str, str]]:
    """The stand-ins for both speech workers, for nodes whose speech is not under test; gives a node's variables.

    `options` are theirs (`tests.support.speech_workers`).
    """
    with tempfile.TemporaryDirectory(prefix="voice") as folder:
        socket = f"{folder}/speech.sock"
        command = [sys.executable, "-m", "tests.support.speech_workers", "--socket", socket, *options]
        process = subprocess.Popen(command)
        try:
            yield {"VOICE_STT_ADDRESS": f"unix:{socket}", "VOICE_TTS_ADDRESS": f"unix:{socket}"}
        finally:
            process.terminate()
            process.wait(_STOP_SECONDS)


@contextmanager
def running_node(**variables: str) -> Iterator[NodeProcess]:
    """Run a node with these VOICE_* (or other) variables, on free ports, until the block ends."""
    with local_node.running_node(variables) as node:
        yield NodeProcess(node.process, node.websocket, node.http, node.log)
