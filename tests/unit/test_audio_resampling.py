"""The live resampler against scipy's polyphase filter, and its promises: no drift, no trace of how input was cut."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.signal import resample_poly

from server.audio import Samples
from server.audio.resampling import Resampler

LIVE_RATES = [
    (8_000, 16_000),
    (24_000, 16_000),
    (48_000, 16_000),
    (24_000, 8_000),
    (24_000, 48_000),
    (16_000, 24_000),
]
RATES = [*LIVE_RATES, (44_100, 24_000)]  # the last only of files


def speech_like(rate: int, seconds: float = 1.0) -> Samples:
    """Tones of the speech band (to 2.8 kHz) that fade in and out, so that no filter rings at the ends."""
    time = np.arange(int(rate * seconds)) / rate
    tones = sum(np.sin(2 * np.pi * hertz * time + hertz) for hertz in (180, 440, 1250, 2800))
    return np.asarray(5000 * tones * np.sin(np.pi * time / seconds) ** 2, np.int16)


def resample(samples: Samples, rates: tuple[int, int], cuts: list[int]) -> Samples:
    resampler = Resampler(*rates)
    pieces = [resampler.push(samples[start:end]) for start, end in pairwise([0, *cuts, len(samples)])]
    return np.concatenate([*pieces, resampler.flush()])


def signal_to_noise(signal: Samples, got: Samples) -> float:
    noise = signal.astype(float) - got
    return float(10 * np.log10(np.sum(signal.astype(float) ** 2) / np.sum(noise**2)))


@pytest.mark.parametrize("rates", RATES, ids=str)
def test_agrees_with_scipy_in_value_and_in_time(rates: tuple[int, int]) -> None:
    samples = speech_like(rates[0])
    divisor = np.gcd(*rates)
    reference = np.rint(
        resample_poly(samples.astype(float), rates[1] // divisor, rates[0] // divisor, window=("kaiser", 12.0))
    )
    assert signal_to_noise(reference.astype(np.int16), resample(samples, rates, [])) > 55  # dB


@pytest.mark.parametrize("rates", RATES, ids=str)
def test_the_way_the_input_is_cut_leaves_no_trace(rates: tuple[int, int]) -> None:
    samples = speech_like(rates[0])
    random = np.random.default_rng(7)
    frames = list(range(rates[0] // 50, len(samples), rates[0] // 50))
    ragged = sorted(set(random.integers(1, len(samples), 700).tolist()) | set(range(1, 300)))
    whole = resample(samples, rates, [])
    assert np.array_equal(resample(samples, rates, frames), whole)
    assert np.array_equal(resample(samples, rates, ragged), whole)


@pytest.mark.parametrize("rates", LIVE_RATES, ids=str)
def test_nothing_drifts_in_a_minute(rates: tuple[int, int]) -> None:
    resampler = Resampler(*rates)
    frame = np.zeros(rates[0] // 10, np.int16)
    given = sum(len(resampler.push(frame)) for _ in range(600))
    assert 0 <= 60 * rates[1] - given <= 0.0026 * rates[1]  # only what the filter withholds
    assert given + len(resampler.flush()) == 60 * rates[1]


@pytest.mark.parametrize("rates", LIVE_RATES, ids=str)
def test_sound_comes_out_within_three_milliseconds(rates: tuple[int, int]) -> None:
    assert len(Resampler(*rates).push(speech_like(rates[0], 0.02))) >= rates[1] * 0.0174


@pytest.mark.parametrize("rates", [rates for rates in RATES if rates[0] > rates[1]], ids=str)
def test_what_the_lower_rate_cannot_hold_is_not_folded_into_it(rates: tuple[int, int]) -> None:
    time = np.arange(rates[0]) / rates[0]
    hertz = 0.6 * rates[1]  # it would come back as a tone at 0.4 of the lower rate
    tone = np.asarray(10_000 * np.sin(2 * np.pi * hertz * time) * np.sin(np.pi * time) ** 2, np.int16)
    assert np.abs(resample(tone, rates, [])).max() <= 10  # 60 dB less


def test_a_flushed_resampler_starts_anew() -> None:
    resampler = Resampler(24_000, 16_000)
    samples = speech_like(24_000, 0.3)
    first, second = (np.concatenate([resampler.push(samples), resampler.flush()]) for _ in range(2))
    assert np.array_equal(first, second)


def test_the_same_rate_changes_nothing_and_withholds_nothing() -> None:
    resampler = Resampler(16_000, 16_000)
    samples = speech_like(16_000, 0.1)
    assert np.array_equal(resampler.push(samples), samples)
    assert len(resampler.flush()) == 0


def test_loud_sound_is_clipped_and_never_wraps_around() -> None:
    square = np.where(np.arange(4800) // 60 % 2, 32767, -32768).astype(np.int16)  # its overshoot would wrap
    out = resample(square, (48_000, 16_000), []).astype(int)
    assert out.max() == 32767
    assert out.min() == -32768
    assert (np.sign(out[5:15]) == -1).all()
