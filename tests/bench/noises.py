"""Noise to talk against, for measurements: made from numbers, or from what others say; the same each time.

Sounds are float32, mono, at 16 kHz; those of `NOISES` have any level, which `with_noise` sets.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from server.audio.log_mel import SAMPLE_RATE

Sound = NDArray[np.float32]
Noise = Callable[[np.random.Generator, Sequence[Sound], int], Sound]
"""So many samples, beside `others`, who may be heard in it."""

_VOICES_OF_BABBLE = 6


def with_noise(sound: Sound, noise: Sound, snr_db: float, speech: Sound) -> Sound:
    """`sound`, which holds `speech`, with noise so far below the speech (RMS, with its pauses)."""
    noisy = sound + noise * np.float32(_rms(speech) / _rms(noise) * 10 ** (-snr_db / 20))
    fitting: Sound = noisy / max(np.float32(1.0), np.abs(noisy).max())
    return fitting


def _rms(sound: Sound) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))


def _street(random: np.random.Generator, others: Sequence[Sound], samples: int) -> Sound:
    """Pink noise that swells and ebbs every four seconds, as traffic does."""
    frequencies = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    pink = np.fft.rfft(random.normal(size=samples)) / np.sqrt(np.maximum(frequencies, 1.0))
    time = np.arange(samples) / SAMPLE_RATE + random.uniform(0, 4)
    swell = 1 + 0.7 * np.sin(time * np.pi / 2)
    return (np.fft.irfft(np.where(frequencies > 40.0, pink, 0.0), samples) * swell).astype(np.float32)


def _music(random: np.random.Generator, others: Sequence[Sound], samples: int) -> Sound:
    """Plucked fifths, and a motor's hum below them."""
    time = np.arange(samples) / SAMPLE_RATE
    sound = 0.3 * _tone(50.0, 8, time)
    for start in range(0, samples, round(0.4 * SAMPLE_RATE)):
        note, held = random.choice((220.0, 262.0, 294.0, 330.0, 392.0, 440.0)), time[: samples - start]
        sound[start:] += (_tone(note, 3, held) + _tone(1.5 * note, 3, held)) * np.exp(-3 * held)
    return sound.astype(np.float32)


def _tone(hertz: float, overtones: int, time: NDArray[np.float64]) -> NDArray[np.float64]:
    waves: NDArray[np.float64] = np.sum([np.sin(2 * np.pi * hertz * n * time) / n for n in range(1, 1 + overtones)], 0)
    return waves


def _babble(random: np.random.Generator, others: Sequence[Sound], samples: int) -> Sound:
    """Six others at once, all as loud."""
    babble: Sound = np.sum([_talker(random, others, samples) for _ in range(_VOICES_OF_BABBLE)], axis=0)
    return babble


def _talker(random: np.random.Generator, others: Sequence[Sound], samples: int) -> Sound:
    """Others one after the other, from anywhere in what they say."""
    talk = np.concatenate(
        [others[number] / np.float32(_rms(others[number])) for number in random.permutation(len(others))]
    )
    return np.resize(np.roll(talk, -int(random.integers(len(talk)))), samples)


NOISES: Mapping[str, Noise] = {"street": _street, "music": _music, "babble": _babble, "one talker": _talker}
