"""Change of sample rate for live audio: state kept between frames, a lag of milliseconds, no drift.

A windowed sinc, applied to blocks of samples as one matrix product each, so that 20 ms cost some 10 us. The result does
not depend on how the input was cut. Mono only; between rates that share no large divisor (44.1 and 24 kHz) the lag is
that of a block, 3.3 ms.
"""

from functools import lru_cache
from math import ceil, gcd

import numpy as np
from numpy.typing import NDArray

from server.audio import Samples

_LOBES = 16  # of the sinc on either side: at the lower rate, a transition of an eighth of it; 70 dB beyond
_KAISER_BETA = 7.0
_BLOCK_SECONDS = 0.0005
_FULL_SCALE = 32768.0


class Resampler:
    """A stream of int16 mono samples at `from_rate` Hz to one at `to_rate` Hz; one object per stream and direction."""

    def __init__(self, from_rate: int, to_rate: int) -> None:
        self.from_rate, self.to_rate = from_rate, to_rate
        self._block, self._reach, self._matrix = _filter(from_rate, to_rate)
        self._held = np.zeros(self._reach)
        self._taken = self._given = 0  # samples since the start of the stream

    def push(self, samples: Samples) -> Samples:
        """The next samples in, those that are ready out: at once and unchanged where both rates are the same."""
        if self.from_rate == self.to_rate:
            return samples
        self._taken += len(samples)
        held = np.concatenate((self._held, samples), dtype=np.float64)
        width = len(self._matrix)
        blocks = max(0, (len(held) - width) // self._block + 1)
        self._held = held[blocks * self._block :]
        # A row per block, each overlapping the next; copied, as BLAS takes no rows that overlap.
        rows = np.ndarray((blocks, width), np.float64, held, strides=(8 * self._block, 8)).copy()
        ready: Samples = np.rint((rows @ self._matrix).ravel()).clip(-_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
        self._given += len(ready)
        return ready

    def flush(self) -> Samples:
        """End the stream: the samples withheld, so that N samples in gave N * to_rate // from_rate out. Starts anew."""
        if self.from_rate == self.to_rate:
            return np.empty(0, np.int16)
        missing = self._taken * self.to_rate // self.from_rate - self._given
        tail = self.push(np.zeros(self._block + self._reach, np.int16))[:missing]
        self._held = np.zeros(self._reach)
        self._taken = self._given = 0
        return tail


@lru_cache
def _filter(from_rate: int, to_rate: int) -> tuple[int, int, NDArray[np.float64]]:
    """Samples of a block, how many on either side of it have a part in it, and the matrix from those to its outputs."""
    divisor = gcd(from_rate, to_rate)
    up, down = to_rate // divisor, from_rate // divisor
    units = max(1, int(_BLOCK_SECONDS * from_rate) // down)
    block = units * down
    cutoff = min(1.0, to_rate / from_rate)
    reach = ceil(_LOBES / cutoff)
    inputs = np.arange(-reach, block + reach)
    outputs = np.arange(units * up) * down / up
    distance = outputs - inputs[:, None]
    window = np.i0(_KAISER_BETA * np.sqrt(np.clip(1 - (distance / reach) ** 2, 0, None))) * (abs(distance) < reach)
    matrix = np.sinc(cutoff * distance) * window
    return block, reach, matrix / matrix.sum(axis=0)
