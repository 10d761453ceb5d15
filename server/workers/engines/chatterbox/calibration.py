"""What work costs on this device, found by doing some of it before the first caller comes.

It also is the warm-up: pieces are compiled, graphs captured, kernels chosen and memory claimed here.
"""

import time
from collections.abc import Sequence

import torch

from server.errors import VoicefleetError
from server.workers.engine import EngineFailed
from server.workers.engines.chatterbox.conditionals import Conditionals
from server.workers.engines.chatterbox.core import Core, Request
from server.workers.engines.chatterbox.costs import CLAUSE_TOKENS, HOPS_MEASURED, ROWS_MEASURED, Costs
from server.workers.engines.chatterbox.sampler import Sampling
from server.workers.engines.chatterbox.stream import Stream
from server.workers.engines.chatterbox.work import Draw, Join, Render

_TEXT_TOKENS = 24  # a clause
_REACH = 768  # of a row in service: the longest that takes part in a step says how far all are read
_STEPS = 4


def calibrated(core: Core, voice: Conditionals) -> Costs:
    """Warm the device up and measure it. Raises `EngineFailed`."""
    core.capture()
    join, render = 0.0, {}
    for streams in sorted({min(hops, core.decoder.rows) for hops in HOPS_MEASURED}):
        _speak(core, voice, streams)  # the first batch of each size pays for memory and the choice of kernels
        join, render[streams] = _speak(core, voice, streams)
    costs = Costs.of(_step_seconds(core, voice), render, join)
    core.settle()
    return costs


def _speak(core: Core, voice: Conditionals, count: int) -> tuple[float, float]:
    """Speak so many streams in lockstep: mean seconds of a join, and of a render of one hop of each."""
    endings: list[VoicefleetError | None] = []
    streams = [Stream.new(0.0, CLAUSE_TOKENS) for _ in range(count)]
    for seed, stream in enumerate(streams):
        text = range(1, _TEXT_TOKENS + 1)
        core.submit(stream, Request(text, voice, Sampling(seed), 1.0, lambda _: None, endings.append))
    joining = sum(_done(core, Join(stream)) for stream in streams)
    rendering = []
    while core.streams:
        there = [stream for stream in streams if not stream.rendered]
        if drawing := [stream for stream in there if stream.can_draw and not stream.can_render]:
            _done(core, Draw(drawing))
        else:
            seconds = _render(core, there)
            rendering += [seconds] if len(there) == count else []  # those that are no shorter than the others
        if errors := [error for error in endings if error]:
            core.fail(errors[0])
            raise EngineFailed(f"the device can't speak {count} streams at once: {errors[0]}")
    return joining / count, sum(rendering) / len(rendering)


def _render(core: Core, streams: Sequence[Stream]) -> float:
    """A hop of each of them, in as many batches as the memory makes of it: seconds."""
    seconds, waiting = 0.0, streams
    while waiting:
        hops = core.totals.hops
        seconds += _done(core, Render(waiting))
        made = core.totals.hops - hops
        waiting = waiting[made or 1 :]  # the first was shed where none was made
    return seconds


def _done(core: Core, work: Join | Draw | Render) -> float:
    """Do it, and wait for what comes of it: seconds."""
    began = time.perf_counter()
    if launched := core.launch(work):
        core.take(launched)
    return time.perf_counter() - began


def _step_seconds(core: Core, voice: Conditionals) -> dict[int, float]:
    """Seconds of a step by the number of rows. The rows belong to nobody, and are free again afterwards."""
    decoder = core.decoder
    prefix = decoder.prefix(voice)
    sizes = sorted({min(rows, decoder.rows) for rows in (*ROWS_MEASURED, decoder.rows)})
    room = min(_REACH, decoder.positions) - prefix.positions - len(sizes) * (1 + _STEPS) - 1
    text: Sequence[int] = [1] * max(1, room)
    for row in range(decoder.rows):
        decoder.join(row, prefix, text, Sampling(seed=row))
    seconds = {}
    for running in sizes:
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
