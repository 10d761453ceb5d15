"""The log-mel front end, against a reference made with scipy and the formulas of Slaney's Auditory Toolbox."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import get_window, stft

from server.audio.log_mel import HOP, N_FFT, SAMPLE_RATE, log_mel


def _reference(samples: NDArray[np.float32], n_mels: int) -> NDArray[np.float64]:
    window = get_window("hann", N_FFT)
    _, _, spectrum = stft(
        samples.astype(np.float64), window=window, noverlap=N_FFT - HOP, nperseg=N_FFT, boundary="even", padded=False
    )
    power = np.abs(spectrum[:, : len(samples) // HOP] * window.sum()) ** 2

    # Slaney: 3 mels per 200 Hz up to 1 kHz, then 27 mels per factor of 6.4; triangles of unit area.
    mels = np.linspace(0, 15 + 27 * np.log(8) / np.log(6.4), n_mels + 2)
    edges = [mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27) for mel in mels]
    frequencies = np.linspace(0, SAMPLE_RATE / 2, N_FFT // 2 + 1)
    bank = [np.interp(frequencies, edges[i : i + 3], [0, 1, 0]) * 2 / (edges[i + 2] - edges[i]) for i in range(n_mels)]
    decades = np.log10(np.maximum(np.array(bank) @ power, 1e-10))
    features: NDArray[np.float64] = (np.maximum(decades, decades.max() - 8) + 4) / 4
    return features


@pytest.mark.parametrize("n_mels", [80, 128])
def test_it_is_what_whisper_was_trained_on(n_mels: int) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE).astype(np.float32)
    samples[:4000] *= np.sin(np.arange(4000) / 20)
    np.testing.assert_allclose(log_mel(samples, n_mels), _reference(samples, n_mels), atol=1e-6)


def test_a_second_is_a_hundred_frames_of_float32() -> None:
    features = log_mel(np.zeros(SAMPLE_RATE, np.float32))
    assert features.shape == (80, 100)
    assert features.dtype == np.float32


def test_digital_silence_is_finite_and_level() -> None:
    assert np.ptp(log_mel(np.zeros(SAMPLE_RATE, np.float32))) == 0.0


def test_a_tone_is_loudest_in_the_band_it_lies_in() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(SAMPLE_RATE) / SAMPLE_RATE).astype(np.float32)
    assert log_mel(tone).mean(axis=1).argmax() == 26  # 1 kHz is 15 of 45.2 mels; bands are 0.56 apart
