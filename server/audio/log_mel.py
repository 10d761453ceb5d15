"""Log-mel spectrograms as Whisper was trained on them, in numpy alone.

Source of every constant: openai/whisper `whisper/audio.py` (`log_mel_spectrogram`); its filter bank is librosa's
Slaney-style `mel(sr=16000, n_fft=400, n_mels=80)`. It knows nothing of models, windows or tokens.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
N_FFT = 400
HOP = 160
FRAMES_PER_SECOND = SAMPLE_RATE // HOP

# Frames worked on at a time: few enough to stay in the cache, and for BLAS to multiply them without its other threads
# (which it wakes beyond 2**18 products). Eight seconds take a quarter of the CPU time that they take in one block.
_BLOCK = 10
_DYNAMIC_RANGE = 8.0  # decades below the loudest bin that are kept
_BREAK_HZ = 1000.0  # Slaney's scale is linear below and logarithmic above
_HZ_PER_MEL = 200.0 / 3.0
_LOG_STEP = np.log(6.4) / 27.0


def log_mel(samples: NDArray[np.float32], n_mels: int = 80) -> NDArray[np.float32]:
    """Spectrogram `[n_mels, len(samples) // 160]` float32 of mono 16 kHz `samples` in -1..1 (at least 201 of them)."""
    # In double precision, as pipecat and `transformers` do: smart-turn's answer depends on the last bits.
    padded = np.pad(samples.astype(np.float64), N_FFT // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP][: len(samples) // HOP]
    blocks = [frames[start : start + _BLOCK] for start in range(0, len(frames), _BLOCK)]
    mels = np.concatenate([_mels(block, n_mels) for block in blocks], axis=1)
    decades = np.log10(np.maximum(mels, 1e-10))
    return np.asarray((np.maximum(decades, decades.max() - _DYNAMIC_RANGE) + 4.0) / 4.0, dtype=np.float32)


def _mels(frames: NDArray[np.float64], n_mels: int) -> NDArray[np.float64]:
    """Energies `[n_mels, n]` of frames `[n, 400]`."""
    power = np.abs(np.fft.rfft(frames * _window(), axis=1)) ** 2
    return np.asarray(_filter_bank(n_mels) @ power.T)


@cache
def _window() -> NDArray[np.float64]:
    """Periodic Hann window `[400]`."""
    return np.hanning(N_FFT + 1)[:-1]


@cache
def _filter_bank(n_mels: int) -> NDArray[np.float64]:
    """Triangular filters `[n_mels, 201]`, each of unit area in Hz."""
    edges = _mel_to_hz(np.linspace(0.0, _hz_to_mel(SAMPLE_RATE / 2), n_mels + 2))
    bins = np.arange(N_FFT // 2 + 1) * SAMPLE_RATE / N_FFT
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(triangles * 2.0 / (high - low))


def _hz_to_mel(hz: float) -> float:
    """For frequencies above the break."""
    return float(_BREAK_HZ / _HZ_PER_MEL + np.log(hz / _BREAK_HZ) / _LOG_STEP)


def _mel_to_hz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    break_mel = _BREAK_HZ / _HZ_PER_MEL
    above = _BREAK_HZ * np.exp(_LOG_STEP * np.maximum(mels - break_mel, 0.0))
    return np.where(mels < break_mel, mels * _HZ_PER_MEL, above)
