"""A command that is told to end before it serves: it ends at once and in order, and leaves no process behind."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals

import pytest

from server.workers.serving import in_own_thread
from tests.support.file_server import FileServer, serving
from tests.support.starting import Starting, starting

PROMPTLY = 8.0  # seconds on a machine that does much else; alone it takes one
FREE = ("--port", "0", "--http-port", "0")
NOBODY = {"VOICE_TTS_ADDRESS": "127.0.0.1:9", "VOICE_LLM": "openai:model@http://127.0.0.1:9"}
STATUS = {SIGTERM: 143, SIGINT: 130}
both = pytest.mark.parametrize("signum", [SIGTERM, SIGINT])


class Shut:
    """A gate that no request passes before the test is over."""

    def __init__(self) -> None:
        self.opened = threading.Event()

    def wait(self, timeout: float) -> None:
        self.opened.wait(timeout)


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[tuple[FileServer, dict[str, str]]]:
    """A model hub and package index that take every request and answer none, and the variables that lead there."""
    gate = Shut()
    with serving(FileServer({}, gate=gate)) as server:
        yield (
            server,
            {
                "VOICE_MODEL_DIR": str(tmp_path / "models"),
                "HF_ENDPOINT": server.url,
                "PIP_INDEX_URL": f"{server.url}/simple",
            },
        )
        gate.opened.set()


def until_it_fetches(command: Starting, server: FileServer) -> None:
    """Both kinds of sources have been asked: the hub by its own threads, the index by pip."""
    command.until(lambda: {request.path.split("/")[1] for request in list(server.requests)} >= {"Systran", "simple"})


def assert_silent(command: Starting) -> None:
    assert not [line for line in command.lines if line.startswith(("Traceback", "Exception", "error:"))]


# --- while the node starts


@pytest.mark.parametrize(("signum", "status"), [(SIGTERM, 0), (SIGINT, 130)])
def test_a_node_that_waits_for_a_worker_ends_at_the_first_signal(signum: Signals, status: int) -> None:
    with starting("serve", *FREE, **NOBODY) as node:
        node.until_said("tts_worker_left_out")
        assert node.ended_by(signum, within=PROMPTLY) == status
    assert_silent(node)


def test_a_second_signal_changes_nothing_about_that() -> None:
    with starting("serve", *FREE, **NOBODY) as node:
        node.until_said("tts_worker_left_out")
        assert node.ended_by(SIGTERM, SIGTERM, within=PROMPTLY) == 0
    assert_silent(node)


def test_a_node_in_the_background_of_a_script_hears_sigterm_too() -> None:
    """Such a shell has SIGINT ignored for it."""
    program = f"import os, signal; signal.signal(signal.SIGINT, signal.SIG_IGN); os.execv({sys.executable!r}, %s)"
    command = [sys.executable, "-m", "server.main", "serve", *FREE]
    with subprocess.Popen(
        [sys.executable, "-c", program % command], stderr=subprocess.PIPE, text=True, env=os.environ | NOBODY
    ) as node:
        assert node.stderr
        assert any("tts_worker_left_out" in line for line in node.stderr)
        node.send_signal(SIGTERM)
        assert node.wait(PROMPTLY) == 0


@both
def test_a_demo_that_waits_for_a_worker_ends_at_the_first_signal(signum: Signals) -> None:
    with starting("demo", *FREE, **NOBODY) as demo:
        demo.until_said("tts_worker_left_out")
        assert demo.ended_by(signum, within=PROMPTLY) == STATUS[signum]
    assert_silent(demo)


@both
def test_a_bench_takes_the_node_that_it_started_along(signum: Signals) -> None:
    with starting("bench", "--calls", "1", **NOBODY) as bench:
        bench.until(lambda: any("stt_worker" in command for command in bench.commands()))
        assert bench.ended_by(signum, within=PROMPTLY) == STATUS[signum]
    assert_silent(bench)


# --- while models are fetched


@both
@pytest.mark.parametrize(
    ("command", "serves"),
    [(("serve", *FREE), True), (("demo", *FREE), False), (("models", "pull"), False)],
    ids=["serve", "demo", "pull"],
)
def test_a_fetch_from_sources_that_give_no_answer_ends_at_the_first_signal(
    command: tuple[str, ...], serves: bool, signum: Signals, silent: tuple[FileServer, dict[str, str]]
) -> None:
    server, variables = silent
    with starting(*command, **variables) as fetching:
        until_it_fetches(fetching, server)
        assert fetching.ended_by(signum, within=PROMPTLY) == (0 if serves and signum is SIGTERM else STATUS[signum])
    assert_silent(fetching)


def test_a_node_of_a_fleet_that_fetches_ends_at_the_first_signal(silent: tuple[FileServer, dict[str, str]]) -> None:
    server, variables = silent
    fleet = {"VOICE_FLEET_GROUP": "voicefleet-test", "AWS_EC2_METADATA_DISABLED": "true"}
    with starting("serve", *FREE, **variables, **fleet) as node:
        until_it_fetches(node, server)
        assert node.ended_by(SIGTERM, within=PROMPTLY) == 0
    assert_silent(node)


# --- while a worker loads its model


@pytest.mark.parametrize("worker", ["stt", "tts"])
def test_a_worker_that_loads_its_model_ends_at_the_first_signal(worker: str) -> None:
    with starting("worker", worker, "--listen", "127.0.0.1:0") as loading:
        loading.until_said(": ready")
        assert loading.ended_by(SIGTERM, within=PROMPTLY) == 0
    assert_silent(loading)


def test_what_loads_a_model_is_not_waited_for() -> None:
    loads, may_end = threading.Event(), threading.Event()

    def load() -> None:
        loads.set()
        may_end.wait(60)

    async def start() -> None:
        loading = asyncio.create_task(in_own_thread(load))
        await asyncio.to_thread(loads.wait, 60)
        loading.cancel()
        await loading

    try:
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(asyncio.wait_for(start(), 30))
        assert not may_end.is_set()
    finally:
        may_end.set()
