"""Reference clips and voices for tests."""

import io
from dataclasses import fields

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from scipy.signal import resample_poly

from server.workers.engines.chatterbox.conditionals import Conditionals
from tests.support.clips import BUNDLED, read_clips


def random_conditionals(seed: int = 0) -> Conditionals:
    """A voice of full length that was never heard."""
    generator = torch.Generator().manual_seed(seed)
    return Conditionals(
        speaker_embedding=torch.randn(256, generator=generator),
        prompt_speech_tokens=torch.randint(6561, (375,), generator=generator),
        prompt_tokens=torch.randint(6561, (250,), generator=generator),
        prompt_mel=torch.randn(500, 80, generator=generator),
        xvector=torch.randn(192, generator=generator),
    )


def same_voice(one: Conditionals, other: Conditionals) -> bool:
    """Whether all tensors of two voices are equal, dtypes included."""
    pairs = [(getattr(one, field.name), getattr(other, field.name)) for field in fields(Conditionals)]
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)


def speech(seconds: float, rate: int = 24_000) -> NDArray[np.float32]:
    """So many seconds, up to 19, of one real person speaking: float32 `[n]` at `rate` Hz, its peak at 0.5."""
    pcm = b"".join(clip.pcm for clip in read_clips(BUNDLED))
    samples = resample_poly(np.frombuffer(pcm, "<i2").astype(np.float64), rate // 1000, 16)
    samples *= 0.5 / np.abs(samples).max()
    return np.asarray(samples[: round(seconds * rate)], np.float32)


def audio_file(
    samples: NDArray[np.float32], rate: int = 24_000, kind: str = "WAV", subtype: str | None = None
) -> bytes:
    """`samples`, float32 `[n]` or `[n, channels]`, as an audio file."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()
