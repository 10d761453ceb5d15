"""Words that are only sound: for what depends on where something can be heard, and not on what is said."""

import numpy as np

from server.audio import Samples
from server.bench.turns.word_gaps import RATE


def word(seconds: float) -> Samples:
    """As loud as speech on a telephone line."""
    samples: Samples = np.random.default_rng(1).normal(0.0, 4000.0, round(seconds * RATE)).clip(-32768, 32767)
    return samples.astype(np.int16)


def quiet(seconds: float) -> Samples:
    """Not quite silent, as no line is."""
    return np.random.default_rng(2).normal(0.0, 3.0, round(seconds * RATE)).round().astype(np.int16)


def said(*seconds: float) -> Samples:
    """A word, a pause, a word, a pause and so on, each so long."""
    return np.concatenate([quiet(each) if nth % 2 else word(each) for nth, each in enumerate(seconds)])
