"""The noise that measurements mix with speech."""

from collections.abc import Sequence

import numpy as np
import pytest

from tests.bench.noises import NOISES, Sound, with_noise

_RANDOM = np.random.default_rng(0)
_OTHERS: Sequence[Sound] = [_RANDOM.normal(0, 0.1, 20_000 + n).astype(np.float32) for n in range(3)]
_SPEECH: Sound = (0.1 * np.sin(np.arange(32_000) / 5)).astype(np.float32)


@pytest.mark.parametrize("name", NOISES)
def test_a_noise_is_the_same_each_time_and_lies_as_far_below_the_speech_as_asked(name: str) -> None:
    whole = np.pad(_SPEECH, 8_000)
    once, again = (
        with_noise(whole, NOISES[name](np.random.default_rng(1), _OTHERS, len(whole)), 10.0, _SPEECH) for _ in range(2)
    )
    assert np.array_equal(once, again)
    assert 10 * np.log10(np.mean(_SPEECH**2) / np.mean((once - whole) ** 2)) == pytest.approx(10.0, abs=0.01)


def test_speech_and_noise_together_do_not_clip() -> None:
    loud = 8 * _SPEECH
    noisy = with_noise(loud, loud, 0.0, loud)
    assert np.abs(noisy).max() == pytest.approx(1.0)
