"""Workers that die or hang: their calls go on, other calls notice nothing, and no process is left behind."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from server.observability import metrics
from server.stt_processor import SttProcessor
from server.tts_processor import TtsProcessor
from server.workers.restarts import WorkerState
from server.workers.supervisor import Supervisor, WorkerFailed
from tests.support.clips import BUNDLED, read_clips
from tests.support.speech import running, worker_commands

_shared = pytest.mark.asyncio(loop_scope="module")

# Some 30 s of audio: far more than the sockets and gRPC hold, so that most of it is still in the worker when it dies.
_LONG = "The quick brown fox jumps over the lazy dog. " * 12


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node() -> AsyncIterator[tuple[Supervisor, SttProcessor, TtsProcessor]]:
    commands = worker_commands("stt", "tts")
    addresses = {command.name: command.address for command in commands}
    async with (
        running(commands) as supervisor,
        SttProcessor(addresses["stt"]) as stt,
        TtsProcessor(addresses["tts"]) as tts,
    ):
        yield supervisor, stt, tts


Node = tuple[Supervisor, SttProcessor, TtsProcessor]


def _signal(supervisor: Supervisor, worker: str, signum: signal.Signals) -> None:
    pid = supervisor.status()[worker].pid
    assert pid
    os.kill(pid, signum)


async def _serving(supervisor: Supervisor, worker: str) -> None:
    async with asyncio.timeout(15):
        while supervisor.status()[worker].state is not WorkerState.SERVING:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.05)


async def _say(tts: TtsProcessor) -> bytes:
    return b"".join([pcm async for pcm in tts.synthesize(_LONG)])


@_shared
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
async def test_a_sentence_is_whole_though_its_worker_was(node: Node, signum: signal.Signals) -> None:
    supervisor, stt, tts = node
    clip = read_clips(BUNDLED)[0]
    undisturbed = await _say(tts)
    restarts = supervisor.status()["tts"].restarts
    pcm = b""
    async for chunk in tts.synthesize(_LONG):
        if not pcm:
            _signal(supervisor, "tts", signum)
            assert (await stt.transcribe(clip.pcm)).text == clip.text  # another call, another worker: not disturbed
        pcm += chunk
    assert pcm == undisturbed
    await _serving(supervisor, "tts")
    status = supervisor.status()["tts"]
    assert (status.restarts, status.last_end) == (restarts + 1, "exit code -9")
    assert metrics.REGISTRY.get_sample_value("voice_worker_restarts_total", {"worker": "tts"}) == restarts + 1
    assert metrics.REGISTRY.get_sample_value("voice_worker_up", {"worker": "tts"}) == 1


@_shared
async def test_an_utterance_is_recognised_though_its_worker_was_killed(node: Node) -> None:
    supervisor, stt, _ = node
    clips = read_clips(BUNDLED)
    asking = [asyncio.create_task(stt.transcribe(clip.pcm)) for clip in clips]
    await asyncio.sleep(0.05)
    _signal(supervisor, "stt", signal.SIGKILL)
    transcripts = await asyncio.gather(*asking)
    assert all(transcript.text for transcript in transcripts)
    await _serving(supervisor, "stt")


async def test_the_workers_end_when_told_to() -> None:
    async with running(worker_commands("tts")) as supervisor:
        pid = supervisor.status()["tts"].pid
        assert pid
        assert _lives(pid)
    assert supervisor.status()["tts"].state is WorkerState.STOPPED
    assert supervisor.status()["tts"].pid is None
    assert not _lives(pid)


_GATEWAY = """
import asyncio
from server.observability import logs
from tests.support.speech import running, worker_commands

async def main():
    logs.configure("error")
    async with running(worker_commands("tts")) as supervisor:
        print(supervisor.status()["tts"].pid, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def test_no_worker_outlives_a_gateway_that_was_killed() -> None:
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", _GATEWAY], stdout=subprocess.PIPE, text=True, cwd=root) as gateway:
        assert gateway.stdout
        pid = int(gateway.stdout.readline())
        assert _lives(pid)
        gateway.kill()
    deadline = time.monotonic() + 5
    while _lives(pid):
        assert time.monotonic() < deadline, "the worker lives on"
        time.sleep(0.02)


async def test_a_worker_that_says_why_it_cannot_start_is_not_started_again() -> None:
    command = worker_commands("stt")[0]
    bad = Supervisor([replace(command, environment=command.environment | {"VOICE_STT_MODEL": "enormous"})])
    with pytest.raises(WorkerFailed, match=r"^the stt worker can't start: VOICE_STT_MODEL: got 'enormous'; takes"):
        await asyncio.wait_for(bad.run(), 30)
    assert bad.status()["stt"].restarts == 0


async def test_a_worker_that_dies_at_every_start_is_given_up() -> None:
    command = worker_commands("stt")[0]
    bad = Supervisor([replace(command, argv=(sys.executable, "-c", "raise SystemExit('a fault')", "--"))])
    with pytest.raises(WorkerFailed, match=r"can't start: it ended 3 times, with exit code 1; it last said: a fault"):
        await asyncio.wait_for(bad.run(), 30)


def _lives(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
