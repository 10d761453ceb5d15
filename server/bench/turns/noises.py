"""Sounds that are no speech, as they come into a call: made from numbers, the same each time.

Pure numpy: int16 mono samples at `RATE`. Levels are RMS over the whole sound in dB below full scale; speech on a
telephone line has about -20.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from server.audio import Samples
from server.bench.turns.word_gaps import RATE

_Floats = NDArray[np.float64]
_FAR_DB = 24.0


def synthetic_noises() -> Mapping[str, Samples]:
    """Each noise by its name."""
    random = np.random.default_rng(0)
    return {
        "door": _at(-26.0, _burst(random, 0.5, 0.08, 60.0, 1200.0)),
        "cough": _at(-22.0, np.concatenate([_burst(random, 0.25, 0.07, 250.0, 2500.0) for _ in range(2)])),
        "keys": _at(-34.0, _clicks(random, 1.5, 7.0)),
        "hum": _at(-26.0, _hum(1.5)),
        "fan": _at(-32.0, _band(random, 2.0, 50.0, 4000.0)),
        "babble": _at(-30.0, _babble(random, 2.0)),
        "music": _at(-24.0, _music(random, 3.0)),
        "sneeze": _at(-22.0, _sneeze(random)),
        "high hum": _at(-26.0, _hum(1.5, 180.0)),
    }


def far(talk: Sequence[Samples]) -> Samples:
    """Others in the room: the same speech 24 dB down, all at once, until the first of them is done."""
    together: _Floats = np.sum([samples[: min(map(len, talk))].astype(np.float64) for samples in talk], axis=0)
    return _rounded(together * 10 ** (-_FAR_DB / 20))


def _at(dbfs: float, sound: _Floats) -> Samples:
    return _rounded(sound * (32768.0 * 10 ** (dbfs / 20) / np.sqrt(np.mean(sound**2))))


def _rounded(sound: _Floats) -> Samples:
    samples: Samples = np.rint(sound).clip(-32768, 32767).astype(np.int16)
    return samples


def _time(seconds: float) -> _Floats:
    return np.arange(round(seconds * RATE)) / RATE


def _band(random: np.random.Generator, seconds: float, low: float, high: float) -> _Floats:
    """Noise between two frequencies in Hz, 3 dB less with each octave."""
    n = round(seconds * RATE)
    spectrum = np.fft.rfft(random.normal(size=n))
    frequencies = np.fft.rfftfreq(n, 1 / RATE)
    inside = (frequencies >= low) & (frequencies <= high)
    return np.fft.irfft(np.where(inside, spectrum / np.sqrt(np.maximum(frequencies, 1.0)), 0.0), n)


def _burst(random: np.random.Generator, seconds: float, decay: float, low: float, high: float) -> _Floats:
    """Noise that begins at once and falls to a third each `decay` seconds."""
    burst: _Floats = _band(random, seconds, low, high) * np.exp(-_time(seconds) / decay)
    return burst


def _clicks(random: np.random.Generator, seconds: float, rate: float) -> _Floats:
    """`rate` clicks a second, not quite evenly."""
    sound = np.zeros(round(seconds * RATE))
    click = _burst(random, 0.03, 0.004, 800.0, 6000.0)
    for at in np.arange(0.0, seconds - 0.1, 1 / rate):
        start = round((at + random.uniform(0.0, 0.06)) * RATE)
        sound[start : start + len(click)] += click
    return sound


def _hum(seconds: float, hertz: float = 50.0) -> _Floats:
    """A motor; by default one on the mains."""
    harmonics = [np.sin(2 * np.pi * hertz * n * _time(seconds)) / n for n in range(1, 9)]
    hum: _Floats = np.sum(harmonics, axis=0)
    return hum


def _music(random: np.random.Generator, seconds: float) -> _Floats:
    """Four chords a second, each of three notes of a scale that die away."""
    sound = np.zeros(round(seconds * RATE))
    for start in range(0, len(sound), RATE // 4):
        times = _time(0.5)[: len(sound) - start]
        for step in random.choice([0, 2, 4, 7, 9, 12], 3, replace=False):
            note = 220.0 * 2 ** (step / 12)
            tones = sum(np.sin(2 * np.pi * note * n * times) / n**1.5 for n in range(1, 6))
            sound[start : start + len(times)] += tones * np.exp(-times / 0.25)
    return sound


def _sneeze(random: np.random.Generator) -> _Floats:
    """Air that swells and ebbs."""
    sneeze: _Floats = _band(random, 0.5, 1500.0, 7000.0) * np.exp(-(((_time(0.5) - 0.25) / 0.1) ** 2))
    return sneeze


def _babble(random: np.random.Generator, seconds: float) -> _Floats:
    """Noise in the band of voices that swells and ebbs as syllables do, six times over."""
    voices = [
        _band(random, seconds, 150.0, 3500.0)
        * (0.1 + np.maximum(0.0, np.sin(2 * np.pi * (random.uniform(3.0, 5.0) * _time(seconds) + random.uniform()))))
        for _ in range(6)
    ]
    babble: _Floats = np.sum(voices, axis=0)
    return babble
