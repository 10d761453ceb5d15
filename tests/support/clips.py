"""Transcribed audio clips for tests and measurements."""

import json
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

BUNDLED = Path(__file__).parents[1] / "audio"

_SAMPLE_RATE = 16_000


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip: `pcm` is 16-bit little-endian mono at 16 kHz, `text` is what is said in it."""

    name: str
    pcm: bytes
    text: str

    @property
    def seconds(self) -> float:
        return len(self.pcm) / 2 / _SAMPLE_RATE


def read_wav(path: Path) -> bytes:
    """A mono 16-bit WAV file as PCM at 16 kHz."""
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").astype(np.float64)
        rate = file.getframerate()
    resampled: np.ndarray = resample_poly(samples, _SAMPLE_RATE, rate)
    return np.clip(np.round(resampled), -32768, 32767).astype("<i2").tobytes()


def read_clips(folder: Path) -> list[Clip]:
    """The WAV clips that `manifest.json` in `folder` lists."""
    entries = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return [
        Clip(entry["path"], read_wav(folder / entry["path"]), entry["text"])
        for entry in entries
        if entry["path"].endswith(".wav")
    ]
