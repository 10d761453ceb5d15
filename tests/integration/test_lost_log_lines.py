"""A node whose log can't be written, as the disk is full or the reader has stopped: calls go on, and lines are counted.

That the queue before a stopped reader has a bound, and what it costs: `tests/unit/test_logging.py`.
"""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.live_call import LiveCall, live_call
from tests.support.node import NodeProcess
from tests.support.ports import free_ports
from tests.support.programs import NAMESPACES

DISK_BYTES, FILLER_BYTES = 65_536, 32_768
LONG_NAME = "a_setting_that_there_is_none_of" * 4
SERVE = ("-m", "server.main", "serve")


@contextmanager
def node_run_by(command: Sequence[str], variables: dict[str, str], stderr: int | None = None) -> Iterator[NodeProcess]:
    port, http_port = free_ports(2)
    ports = {"VOICE_PORT": str(port), "VOICE_HTTP_PORT": str(http_port)}
    process = subprocess.Popen(command, env=os.environ | variables | ports, stderr=stderr, text=True)
    try:
        yield NodeProcess(process, f"ws://127.0.0.1:{port}/v1/realtime", f"http://127.0.0.1:{http_port}", [])
    finally:
        process.terminate()
        assert process.wait(20.0) == 0  # nor does its end wait for the log


def is_ready(node: NodeProcess) -> bool:
    try:
        return node.get("/ready")[0] == 200
    except OSError:
        return False


async def fill_the_log(call: LiveCall) -> None:
    """300 lines of 200 bytes and more."""
    for _ in range(300):
        await call.send("session.update", session={"type": "realtime", LONG_NAME: 1})
    for _ in range(300):
        await call.until("session.updated")


@pytest.fixture
def unread() -> Iterator[int]:
    """A pipe that nobody reads; it holds a page."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    yield writing
    os.close(reading)
    os.close(writing)


async def test_a_log_reader_that_has_stopped_harms_no_call(quick: dict[str, str], unread: int) -> None:
    with node_run_by([sys.executable, *SERVE], quick, stderr=unread) as node:
        await node.until(lambda: is_ready(node), seconds=60.0)
        async with live_call(node.websocket) as call:
            await fill_the_log(call)
            assert (await call.turn("one two three"))["status"] == "completed"
        async with live_call(node.websocket) as call:
            assert await call.ask("ping") == "You said: ping"


@pytest.mark.needs(NAMESPACES)
async def test_a_full_disk_harms_no_call_and_costs_no_line_that_comes_later(
    quick: dict[str, str], tmp_path: Path
) -> None:
    script = (
        f'mount -t tmpfs -o size={DISK_BYTES} tmpfs "$1" && head -c {FILLER_BYTES} /dev/zero >"$1/filler" && '
        f'exec "$0" {" ".join(SERVE)} 2>>"$1/log"'
    )
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    with node_run_by([*unshare, "sh", "-c", script, sys.executable, str(tmp_path)], quick) as node:
        await node.until(lambda: is_ready(node), seconds=60.0)
        disk = Path(f"/proc/{node.process.pid}/root{tmp_path}")  # as the node sees it
        async with live_call(node.websocket) as call:
            await fill_the_log(call)
            assert (await call.turn("one two three"))["status"] == "completed"
            assert node.metric("voice_log_lines_dropped_total") > 0
            (disk / "filler").unlink()
            async with live_call(node.websocket) as later:
                session_id = later.events[0]["session"]["id"]
            await node.until(lambda: session_id in (disk / "log").read_text())
        lines = (disk / "log").read_text().splitlines()
    assert [line for line in lines if line.count('"timestamp"') > 1] == []  # each whole or cut short, none in another
