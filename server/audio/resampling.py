"""Change of sample rate for live audio: state kept between frames, a lag of milliseconds, no drift.

A windowed sinc (libsamplerate's `sinc_fastest`) that withholds 0.8 to 2.5 ms; the result does not depend on how the
input was cut. A second of audio costs about 2 ms of CPU with the GIL released; anything longer than a second or so
belongs in a thread. Mono only.
"""

import numpy as np
from samplerate import Resampler as _Sinc

from server.audio import Samples

_FULL_SCALE = 32768.0
_TAIL_SECONDS = 0.02  # more than the filter withholds, at any ratio in use


class Resampler:
    """A stream of int16 mono samples at `from_rate` Hz to one at `to_rate` Hz; one object per stream and direction."""

    def __init__(self, from_rate: int, to_rate: int) -> None:
        self.from_rate, self.to_rate = from_rate, to_rate
        self._sinc = _Sinc("sinc_fastest", channels=1)
        self._taken = self._given = 0  # samples since the start of the stream

    def push(self, samples: Samples) -> Samples:
        """The next samples in, those that are ready out: at once and unchanged where both rates are the same."""
        if self.from_rate == self.to_rate:
            return samples
        self._taken += len(samples)
        scaled = self._sinc.process(samples.astype(np.float32), self.to_rate / self.from_rate)
        ready: Samples = np.rint(scaled.clip(-_FULL_SCALE, _FULL_SCALE - 1)).astype(np.int16)
        self._given += len(ready)
        return ready

    def flush(self) -> Samples:
        """End the stream: the samples withheld, so that N samples in gave N * to_rate // from_rate out. Starts anew."""
        if self.from_rate == self.to_rate:
            return np.empty(0, np.int16)
        missing = self._taken * self.to_rate // self.from_rate - self._given
        tail = self.push(np.zeros(int(self.from_rate * _TAIL_SECONDS), np.int16))[:missing]
        self._sinc.reset()
        self._taken = self._given = 0
        return tail
