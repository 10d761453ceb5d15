"""A node in a process of its own, for those who measure or test one: `voicefleet serve` on free ports.

It does not look into the node; whoever uses it calls, and asks its HTTP side.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from server.errors import VoicefleetError

_START_SECONDS = 90.0
_STOP_SECONDS = 20.0


class NodeNotStarted(VoicefleetError):
    """The node ended, or did nothing, before it served."""


@dataclass(slots=True)
class LocalNode:
    """A node that serves. `log` holds every line that it wrote so far."""

    process: "subprocess.Popen[str]"
    websocket: str = ""
    http: str = ""
    log: list[str] = field(default_factory=list)


@contextmanager
def running_node(
    variables: Mapping[str, str], config: Path | None = None, checkout: Path | None = None
) -> Iterator[LocalNode]:
    """Run a node with these variables beside the environment's own until the block ends. Raises `NodeNotStarted`.

    `checkout` is a folder with another version of this repository and its environment in `.venv`; by default the node
    is of this version.
    """
    process = subprocess.Popen(
        [str(checkout / ".venv/bin/python") if checkout else sys.executable]
        + ["-m", "server.main", "serve", "--port", "0", "--http-port", "0"]
        + (["--config", str(config)] if config else []),
        cwd=checkout,
        env={**os.environ, "VOICE_LOG_LEVEL": "info", **variables},  # at "info" and below it logs its addresses
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for whoever started it
    )
    node = LocalNode(process)
    serving = threading.Event()
    reader = threading.Thread(target=_read_log, args=(node, serving))
    reader.start()
    try:
        serving.wait(_START_SECONDS)
        if not node.websocket:
            raise NodeNotStarted("the node did not start:\n" + "".join(node.log[-20:]))
        yield node
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join()


def _read_log(node: LocalNode, serving: threading.Event) -> None:
    assert node.process.stderr
    for line in node.process.stderr:
        node.log.append(line)
        if '"node_serving"' in line:
            event = json.loads(line)
            node.websocket, node.http = event["websocket"], event["http"]
            serving.set()
    serving.set()  # it has ended
