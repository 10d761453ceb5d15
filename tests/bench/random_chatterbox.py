"""A TTS worker whose Chatterbox was never trained: `python -m tests.bench.random_chatterbox --address unix:PATH`.

All but its weights is real. It says noise, for as long as a voice would take to say the text.
"""

import argparse
import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from server.bench.tts_load import speech_tokens
from server.workers.engines.chatterbox.capacity import Capacity
from server.workers.engines.chatterbox.checkpoint import FULL, SMALL, Precision, random_checkpoint
from server.workers.engines.chatterbox.core import Core
from server.workers.engines.chatterbox.costs import Costs
from server.workers.engines.chatterbox.engine import ChatterboxEngine
from server.workers.engines.chatterbox.flow import WindowedFlow
from server.workers.engines.chatterbox.loading import POSITIONS, captures, chosen_device, rows_for
from server.workers.engines.chatterbox.voice_files import FolderVoices
from server.workers.engines.chatterbox.voices import Encoder, VoiceLibrary
from server.workers.engines.chatterbox.watermark import Watermarker
from tests.bench.processes import worker
from tests.support import chatterbox
from tests.support.chatterbox_worker import Room, run

_SHAPES = {"full": FULL, "small": SMALL}
_PROMPT_SECONDS = {"full": (10.0, 15.0), "small": (2.0, 2.0)}  # of the flow and of the decoder
_START_SECONDS = 600.0  # a full checkpoint is made on the cpu, and every graph captured


@contextmanager
def random_chatterbox(address: str, size: str, device: str, *, unbounded: bool = False) -> Iterator[None]:
    """Such a worker in a process of its own, serving. Raises `NotServing`."""
    arguments = ("--size", size, "--device", device, *(["--unbounded"] if unbounded else []))
    with worker("tests.bench.random_chatterbox", address, *arguments, seconds=_START_SECONDS):
        yield


def _engine(folder: Path, size: str, device_name: str, unbounded: bool) -> ChatterboxEngine:
    """Not yet warm. Its capacity is its own to find, or all the rows that the memory holds."""
    device = chosen_device(device_name)
    flow_seconds, decoder_seconds = _PROMPT_SECONDS[size]
    voice = chatterbox.voice(1, flow_seconds)
    replace(voice, prompt_speech_tokens=chatterbox.speech_tokens(2, decoder_seconds)).save(folder / "sam.pt")
    voices = VoiceLibrary(FolderVoices(folder), folder / "cache", _no_encoder, "")
    voices.refresh()
    checkpoint = random_checkpoint(_SHAPES[size], device, Precision.best(device))
    rows = rows_for(checkpoint, captures(checkpoint, WindowedFlow))
    core = Core(checkpoint, WindowedFlow(checkpoint.flow), rows, POSITIONS, Watermarker(device))

    def capacity(costs: Costs, rows: int) -> Capacity:
        return Room(rows) if unbounded else Capacity(costs, rows)

    return ChatterboxEngine(core, checkpoint.tokenize, voices, token_cap=speech_tokens, capacity=capacity)


def _no_encoder() -> Encoder:
    raise AssertionError("there is no clip among these voices")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True)
    parser.add_argument("--size", choices=tuple(_SHAPES), default="full")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--unbounded", action="store_true", help="take more streams than can be spoken in time")
    options = parser.parse_args()
    asyncio.run(run(options.address, lambda folder: _engine(folder, options.size, options.device, options.unbounded)))


if __name__ == "__main__":
    main()
