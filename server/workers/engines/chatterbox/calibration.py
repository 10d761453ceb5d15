"""What work costs on this device, found by doing some of it before the first caller comes.

It also is the warm-up: graphs are captured, kernels chosen and memory claimed here.
"""

import time
from collections.abc import Sequence

import torch

from server.errors import VoicefleetError
from server.workers.engine import EngineFailed
from server.workers.engines.chatterbox.capacity import Costs
from server.workers.engines.chatterbox.conditionals import Conditionals
from server.workers.engines.chatterbox.core import Core, Request
from server.workers.engines.chatterbox.sampler import Sampling
from server.workers.engines.chatterbox.scheduler import LARGEST_RENDER
from server.workers.engines.chatterbox.stream import Stream

_TEXT_TOKENS = 24  # a clause
_SPEECH_TOKENS = 96  # just under the lead that a stream may have, so that it is made without a rest
_STEPS = 4
_ROWS_MEASURED = (1, 8, 32, 64, 128, 256)


def calibrated(core: Core, voice: Conditionals) -> Costs:
    """Warm the device up and measure it. Raises `EngineFailed`."""
    text = list(range(1, _TEXT_TOKENS + 1))
    core.decoder.capture()
    _speak(core, voice, text, 1)
    together = min(core.decoder.rows, LARGEST_RENDER)
    _speak(core, voice, text, together)  # the first batch of each size pays for memory and the choice of kernels
    steps_before = core.totals.steps
    audio_before = core.totals.audio_seconds
    seconds, first_audio = _speak(core, voice, text, together)
    steps = core.totals.steps - steps_before
    step = _step_seconds(core, voice, text)
    rendering = max(0.0, seconds - steps * step[max(rows for rows in step if rows <= together)])
    audio_second = rendering / max(core.totals.audio_seconds - audio_before, 1.0)
    return Costs(step=step, audio_second=audio_second, start=first_audio / together)


def _speak(core: Core, voice: Conditionals, text: Sequence[int], streams: int) -> tuple[float, float]:
    """Speak so many streams at once: seconds until all were done, and until the last of them had begun."""
    began = time.perf_counter()
    silent = streams
    first_audio = 0.0
    endings: list[VoicefleetError | None] = []

    def heard(_: bytes) -> None:
        nonlocal silent, first_audio
        silent -= 1
        if silent == 0:  # hops come in turn: nobody has a second one before all have had their first
            first_audio = time.perf_counter() - began

    for seed in range(streams):
        request = Request(text, voice, Sampling(seed), 1.0, heard, endings.append)
        core.submit(Stream.new(time.monotonic(), _SPEECH_TOKENS), request)
    while core.streams:
        core.advance()
    if errors := [error for error in endings if error]:
        raise EngineFailed(f"the device can't speak {streams} streams at once: {errors[0]}")
    seconds = time.perf_counter() - began
    return seconds, first_audio or seconds


def _step_seconds(core: Core, voice: Conditionals, text: Sequence[int]) -> dict[int, float]:
    """Seconds of a step by the number of rows. The rows belong to nobody, and are free again afterwards."""
    decoder = core.decoder
    prefix = decoder.prefix(voice)
    rows = sorted({min(rows, decoder.rows) for rows in (*_ROWS_MEASURED, decoder.rows)})
    for row in range(decoder.rows):
        decoder.join(row, prefix, text, Sampling(seed=row))
    seconds = {}
    for running in rows:
        decoder.step(running)
        _synchronize(decoder.device)
        began = time.perf_counter()
        for _ in range(_STEPS):
            decoder.step(running)
        _synchronize(decoder.device)
        seconds[running] = (time.perf_counter() - began) / _STEPS
    return seconds


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
