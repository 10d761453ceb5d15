"""Speaks faster or slower: mel frames are read at another pace than they were made, in a stream.

Frames between two frames are their linear interpolation. The voice's pitch stays, since the vocoder takes it from the
frames' content and not from their number.
"""

import math

import torch
from torch import Tensor


class Tempo:
    """The pace of one stream: 1.0 passes frames on as they are."""

    def __init__(self, speed: float) -> None:
        """`speed` 2.0 is twice as fast."""
        self._speed = speed
        self._last: Tensor | None = None  # frame of the hop before, [80, 1]
        self._next = 0.0  # where the next frame is read, in frames from the start of what is at hand

    def __call__(self, mel: Tensor) -> Tensor:
        """The frames that come of `mel` [80, n], [80, m]."""
        if self._speed == 1.0 or mel.shape[1] == 0:
            return mel
        frames = mel if self._last is None else torch.cat([self._last, mel], 1)
        end = frames.shape[1] - 1
        count = max(0, math.floor((end - self._next) / self._speed) + 1)
        place = self._next + self._speed * torch.arange(count, device=mel.device, dtype=torch.float32)
        before = place.long().clamp(max=max(end - 1, 0))
        share = (place - before).to(mel.dtype)
        after = (before + 1).clamp(max=end)
        self._next += self._speed * count - end
        self._last = frames[:, -1:]
        return frames[:, before] * (1.0 - share) + frames[:, after] * share
