"""The never trained Chatterbox Turbo, voices for it, and the measure by which two signals are compared."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from server.workers.engines.chatterbox.checkpoint import (
    FULL,
    SMALL,
    Checkpoint,
    Precision,
    random_checkpoint,
)
from server.workers.engines.chatterbox.conditionals import Conditionals
from server.workers.engines.chatterbox.speech_tokens import SPEECH_TOKENS, TOKEN_RATE

CPU = torch.device("cpu")

EXACT_DB = 90.0
"""What is claimed to be exact differs by no more than the order of float32 sums: one part in 30,000."""


@cache
def small_checkpoint() -> Checkpoint:
    """Of the small shape, on the CPU. Its weights are nobody's to change."""
    return random_checkpoint(SMALL, CPU, Precision.best(CPU))


def full_checkpoint() -> Checkpoint:
    """Of the full shape, on the CPU: 1.8 GB, so it is not kept."""
    return random_checkpoint(FULL, CPU, Precision.best(CPU))


def voice(seed: int, seconds: float = 2.0) -> Conditionals:
    """A voice like no person's, with a prompt of so many seconds."""
    generator = torch.Generator().manual_seed(seed)
    return Conditionals(
        speaker_embedding=torch.randn(256, generator=generator),
        prompt_speech_tokens=speech_tokens(seed + 1, seconds),
        prompt_tokens=speech_tokens(seed + 2, seconds),
        prompt_mel=torch.randn(2 * round(seconds * TOKEN_RATE), 80, generator=generator),
        xvector=torch.randn(192, generator=generator),
    )


def speech_tokens(seed: int, seconds: float) -> Tensor:
    """int64 [tokens]: sounds for so many seconds."""
    return torch.randint(SPEECH_TOKENS, (round(seconds * TOKEN_RATE),), generator=torch.Generator().manual_seed(seed))


def cut(length: int, sizes: Sequence[int]) -> list[slice]:
    """`length` in pieces of these sizes, over and over; the last is what remains."""
    cuts: list[slice] = []
    start = 0
    while start < length:
        end = min(start + sizes[len(cuts) % len(sizes)], length)
        cuts.append(slice(start, end))
        start = end
    return cuts


def snr_db(reference: Tensor, other: Tensor) -> float:
    """How far the difference lies below the signal, in dB; 0 where their shapes differ."""
    if reference.shape != other.shape:
        return 0.0
    reference, other = reference.double(), other.double()
    noise = (reference - other).square().mean().clamp_min(1e-30)
    return float(10 * torch.log10(reference.square().mean() / noise))
