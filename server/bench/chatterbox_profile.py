"""What the device can do, and how much of it the engine's parts use: measured on the spot, in one run.

The ceilings are what plain copies and matrix products reach here, not what a data sheet promises.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from server.bench.tts_report import Ceilings, HopProfile, StepProfile
from server.workers.engines.chatterbox.checkpoint import Checkpoint
from server.workers.engines.chatterbox.conditionals import Conditionals
from server.workers.engines.chatterbox.flow import Flow, FlowHop
from server.workers.engines.chatterbox.flow_model import LOOKAHEAD
from server.workers.engines.chatterbox.sampler import Sampling
from server.workers.engines.chatterbox.t3 import T3Decoder
from server.workers.engines.chatterbox.vocoder import Vocoder, VocoderHop, VocoderStream

_TIMES = 5
_SPOKEN_TOKENS = 100  # that a stream has behind it: 4 s
_HOP_TOKENS = 50
_TEXT_TOKENS = 24


def ceilings(device: torch.device, dtype: torch.dtype) -> Ceilings:
    """Measure them with buffers too large for any cache."""
    on_gpu = device.type == "cuda"
    source = torch.empty(1 << (30 if on_gpu else 27), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copying = _timed(device, lambda: target.copy_(source))
    side = 8192 if on_gpu else 1024
    left = torch.randn(side, side, device=device, dtype=dtype)
    multiplying = _timed(device, lambda: left @ left)
    return Ceilings(2 * source.nbytes / copying, 2 * side**3 / multiplying)


@torch.inference_mode()
def step_profile(
    decoder: T3Decoder, checkpoint: Checkpoint, voice: Conditionals, rows: Sequence[int]
) -> list[StepProfile]:
    """Steps of a decoder that nobody uses: rows are filled, drawn from, and of no use afterwards."""
    prefix = decoder.prefix(voice)
    text = [token % checkpoint.t3.hp.text_tokens_dict_size for token in range(_TEXT_TOKENS)]
    for row in range(max(rows)):
        decoder.join(row, prefix, text, Sampling(seed=row))
    weights = sum(part.nbytes for block in checkpoint.t3.tfmr.h for part in block.parameters())
    weights += checkpoint.t3.speech_head.weight.nbytes
    positions = prefix.positions + len(text) + 1
    row_bytes = prefix.cache.nbytes // prefix.positions * positions
    return [
        StepProfile(count, _timed(decoder.device, partial(decoder.step, count)), weights + count * row_bytes)
        for count in rows
    ]


@torch.inference_mode()
def hop_profile(flow: Flow, vocoder: Vocoder, voice: Conditionals, device: torch.device, streams: int) -> HopProfile:
    """A hop in the middle of a text, every stream as far as the others."""
    speaker = flow.voice(voice)
    tokens = [token * 7 % 6000 for token in range(_SPOKEN_TOKENS + _HOP_TOKENS + LOOKAHEAD)]
    spoken, next_hop = tokens[: _SPOKEN_TOKENS + LOOKAHEAD], tokens[_SPOKEN_TOKENS + LOOKAHEAD :]

    def begun() -> tuple[list[FlowHop], list[VocoderStream]]:
        opened = [flow.open(speaker, seed) for seed in range(streams)]
        mels = flow.render([FlowHop(stream, spoken, final=False) for stream in opened])
        sounding = [vocoder.open(seed) for seed in range(streams)]
        vocoder.render([VocoderHop(stream, mel, final=False) for stream, mel in zip(sounding, mels, strict=True)])
        return [FlowHop(stream, next_hop, final=False) for stream in opened], sounding

    def vocoded(sounding: Sequence[VocoderStream], mels: Sequence[Tensor]) -> list[Tensor]:
        return vocoder.render(
            [VocoderHop(stream, mel, final=False) for stream, mel in zip(sounding, mels, strict=True)]
        )

    hops, sounding = begun()
    # Inductor compiles nothing while operations are counted, and fails.
    with torch.compiler.set_stance("force_eager"):
        with FlopCounterMode(display=False) as flow_flops:
            mels = flow.render(hops)
        with FlopCounterMode(display=False) as vocoder_flops:
            vocoded(sounding, mels)
    flow_seconds, vocoder_seconds = [], []
    for _ in range(_TIMES):
        hops, sounding = begun()
        began = _now(device)
        mels = flow.render(hops)
        rendered = _now(device)
        vocoded(sounding, mels)
        flow_seconds.append(rendered - began)
        vocoder_seconds.append(_now(device) - rendered)
    return HopProfile(
        streams,
        min(flow_seconds),
        flow_flops.get_total_flops(),
        min(vocoder_seconds),
        vocoder_flops.get_total_flops(),
    )


def _timed(device: torch.device, work: Callable[[], object]) -> float:
    """Seconds that `work` takes, the best of a few in a row, so that a noisy machine is not measured with it."""
    work()
    seconds = []
    for _ in range(_TIMES):
        began = _now(device)
        work()
        seconds.append(_now(device) - began)
    return min(seconds)


def _now(device: torch.device) -> float:
    """Once the device has done all that it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
