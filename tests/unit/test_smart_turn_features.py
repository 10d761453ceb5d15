"""smart-turn's features, against the extractor that its model was trained with."""

import numpy as np
import pytest
from numpy.typing import NDArray
from transformers import WhisperFeatureExtractor

from server.audio.log_mel import SAMPLE_RATE
from server.audio.smart_turn_features import WINDOW_SAMPLES, smart_turn_features
from server.workers.engines.utterance import decode
from tests.support.clips import BUNDLED, read_clips


def reference(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """As pipecat called `transformers`, until it took over the arithmetic."""
    recent = samples[-WINDOW_SAMPLES:]
    inputs = WhisperFeatureExtractor(chunk_length=8)(
        np.pad(recent, (WINDOW_SAMPLES - len(recent), 0)),
        sampling_rate=SAMPLE_RATE,
        return_tensors="np",
        padding="max_length",
        max_length=WINDOW_SAMPLES,
        truncation=True,
        do_normalize=True,
    )
    features: NDArray[np.float32] = inputs.input_features[0]
    return features


@pytest.mark.parametrize("seconds", [0.0, 0.02, 1.7, 8.0, 11.3])
def test_they_are_what_the_model_was_trained_on(seconds: float) -> None:
    pcm = b"".join(clip.pcm for clip in read_clips(BUNDLED))[: 2 * round(seconds * SAMPLE_RATE)]
    samples = decode(pcm)
    features = smart_turn_features(samples)
    assert features.dtype == np.float32
    # Without torch the two agree to 2e-7; with it, `transformers` calculates in single precision.
    np.testing.assert_allclose(features, reference(samples), atol=1e-4)
