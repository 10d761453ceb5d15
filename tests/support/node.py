"""A real node in a process of its own: `voicefleet serve` with the test's settings, real workers and real models."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

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

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines of that event."""
        lines = [json.loads(line) for line in list(self.log) if line.startswith("{")]
        return [line for line in lines if line["event"] == name]


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
