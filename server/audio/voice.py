"""What can be measured of a voice without knowing its words. Audio is 16-bit little-endian mono PCM at 16 kHz."""

import math

import numpy as np

_FRAME = 512  # 32 ms at 16 kHz
_SILENCE_DBFS = -96.0  # of 16-bit audio
_QUANTILE = 0.9
_HANN = np.hanning(_FRAME).astype(np.float32)
_OPEN_BIN = 15  # 469 Hz
_LOUD = 0.1


def frame_level(pcm: bytes) -> float:
    """The level of one frame, in dB below full scale; that of silence where there is no audio."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float32)
    power = float(samples @ samples) / max(1, len(samples)) / 32768**2
    return max(_SILENCE_DBFS, 10 * math.log10(power + 1e-12))


def speech_level(pcm: bytes) -> float:
    """The level of the voice in `pcm`, in dB below full scale: that of its louder frames, as speech has pauses."""
    samples = np.frombuffer(pcm, "<i2")
    if len(samples) < _FRAME:
        return _SILENCE_DBFS
    frames = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME).astype(np.float32) / np.float32(32768)
    energy = float(np.quantile(np.mean(frames**2, axis=1), _QUANTILE))
    return max(_SILENCE_DBFS, 10 * float(np.log10(energy + 1e-12)))


def openness(pcm: bytes) -> float:
    """How open the mouth was at its widest: of the loud frame that has most of it, the share of energy above 450 Hz.

    Closed lips ("mm") leave less than 0.1 of it; nearly every word has more within its first 0.2 s.
    """
    samples = np.frombuffer(pcm, "<i2")
    frames = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME).astype(np.float32) * _HANN
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    energy = np.sum(power, axis=1)
    loud = energy > _LOUD * np.max(energy, initial=0.0)
    return float(np.max(np.sum(power[loud, _OPEN_BIN:], axis=1) / energy[loud], initial=0.0))
