"""What smart-turn hears: the log-mel spectrogram of the last eight seconds, computed as its authors do.

Source: `LocalSmartTurnAnalyzerV3` of pipecat, which follows `transformers.WhisperFeatureExtractor(chunk_length=8)` with
`do_normalize=True`. Pure; what the model makes of it is for `smart_turn_processor`.
"""

import numpy as np
from numpy.typing import NDArray

from server.audio.log_mel import SAMPLE_RATE, log_mel

WINDOW_SAMPLES = 8 * SAMPLE_RATE
_LEAST_VARIANCE = 1e-7  # or digital silence would be divided by nothing


def smart_turn_features(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features `[80, 800]` float32 of mono 16 kHz `samples` in -1..1: the last 8 s; fewer have silence before them."""
    recent = samples[-WINDOW_SAMPLES:]
    window = np.pad(recent, (WINDOW_SAMPLES - len(recent), 0))
    # Over the whole window, its silence included.
    normalized = (window - window.mean()) / np.sqrt(window.var() + _LEAST_VARIANCE)
    return log_mel(normalized)
