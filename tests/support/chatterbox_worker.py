"""A TTS worker with the small Chatterbox: `python -m tests.support.chatterbox_worker --address unix:PATH`.

All but its weights, which were never trained, is real: service, engine, scheduler, voices from a folder. It says noise,
a token for each character, so that 25 characters are a second.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc

from server.workers import speech_pb2_grpc
from server.workers.engines.chatterbox.capacity import Capacity
from server.workers.engines.chatterbox.core import Core
from server.workers.engines.chatterbox.costs import NOTHING
from server.workers.engines.chatterbox.engine import ChatterboxEngine
from server.workers.engines.chatterbox.flow import WindowedFlow
from server.workers.engines.chatterbox.voice_files import FolderVoices
from server.workers.engines.chatterbox.voices import Encoder, VoiceLibrary
from server.workers.serving import serve
from server.workers.tts_worker import TextToSpeech
from tests.support.chatterbox import small_checkpoint, voice

VOICE = "sam"
STREAMS = 2
_POSITIONS = 512  # of a row: 26 of the voice, 75 of the longest piece's text, its 300 speech tokens
_STOP_SECONDS = 20.0


class Room(Capacity):
    """Room for so many streams, however slow the machine is."""

    def __init__(self, streams: int) -> None:
        super().__init__(NOTHING, streams)

    def observe(self, late: int, now: float) -> None:
        """They may."""


def _no_encoder() -> Encoder:
    raise AssertionError("there is no clip among these voices")


def small_engine(folder: Path) -> ChatterboxEngine:
    """The engine, not yet warm, with one voice in `folder`."""
    voice(1, seconds=1.0).save(folder / f"{VOICE}.pt")
    voices = VoiceLibrary(FolderVoices(folder), folder / "cache", _no_encoder, "")
    voices.refresh()
    checkpoint = small_checkpoint()
    core = Core(checkpoint, WindowedFlow(checkpoint.flow), STREAMS, _POSITIONS, None)
    return ChatterboxEngine(core, checkpoint.tokenize, voices, token_cap=len, capacity=lambda *_: Room(STREAMS))


async def run(address: str, make_engine: Callable[[Path], ChatterboxEngine] = small_engine) -> None:
    """Serve an engine, which gets a folder for its voices, until told to stop."""
    with tempfile.TemporaryDirectory() as folder:
        engine = make_engine(Path(folder))

        def register(server: grpc.aio.Server) -> None:
            speech_pb2_grpc.add_TextToSpeechServicer_to_server(TextToSpeech(engine), server)  # type: ignore[no-untyped-call] # generated

        try:
            await serve(address, register, engine.warm_up, engine.healthy)
        finally:
            await engine.close()


@contextmanager
def chatterbox_worker(address: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Such a worker in a process of its own with one thread to compute in, just started; it warms up for a while."""
    command = [sys.executable, "-m", "tests.support.chatterbox_worker", "--address", address]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        yield process
    finally:
        process.kill()
        process.wait(_STOP_SECONDS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True)
    asyncio.run(run(parser.parse_args().address))


if __name__ == "__main__":
    main()
