"""Sound as numbers: sample rates, wire formats, G.711 and WAV files. Nothing here listens, plays or waits."""

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]
"""Mono audio, shape (n,), native int16."""
