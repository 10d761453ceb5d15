"""Speech made with the CPU voice, the real models, and real worker processes for tests."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import cache
from pathlib import Path

import numpy as np

from server.audio.resampling import Resampler
from server.models.store import ModelStore
from server.settings.loading import load_settings
from server.workers.commands import WorkerCommand, speech_workers
from server.workers.engines.hibari import HibariEngine
from server.workers.supervisor import Supervisor


@cache
def model_folder(name: str) -> Path:
    """The folder of a model of the catalogue, fetched if this machine lacks it."""
    return ModelStore.from_settings(load_settings()).pull(name)


@cache
def voice() -> HibariEngine:
    """The CPU voice, in this process."""
    return HibariEngine(model_folder("hibari-heart") / "hibari.onnx", threads=1)


async def speak(text: str) -> bytes:
    """`text` as the CPU voice says it: 16-bit little-endian mono PCM at 16 kHz."""
    async with aclosing(voice().synthesize(text, "", 1.0)) as chunks:
        pcm = b"".join([chunk async for chunk in chunks])
    return resample(pcm, 24_000, 16_000)


def resample(pcm: bytes, source: int, target: int) -> bytes:
    """16-bit PCM from one sample rate in Hz to another."""
    resampler = Resampler(source, target)
    return resampler.push(np.frombuffer(pcm, "<i2")).tobytes() + resampler.flush().tobytes()


def worker_commands(*names: str) -> list[WorkerCommand]:
    """How the real workers of those names are started, with their models at hand and sockets of their own."""
    model_folder("tiny.en"), model_folder("hibari-heart")
    run_dir = Path(tempfile.mkdtemp(prefix="voice"))  # pytest's own folders are too deep for a unix socket's path
    return [command for command in speech_workers(load_settings(), run_dir) if command.name in names]


@asynccontextmanager
async def running(commands: Sequence[WorkerCommand]) -> AsyncIterator[Supervisor]:
    """The workers, supervised and ready."""
    supervisor = Supervisor(commands)
    async with asyncio.TaskGroup() as tasks:
        run = tasks.create_task(supervisor.run())
        await supervisor.wait_ready()
        yield supervisor
        run.cancel()
