"""Batches that the device's memory holds: what is too much is halved, and more is tried again after a while.

Memory is taken by what is computed, not by the streams that are there: their rows are allocated once. So a batch that
does not fit is no reason to end anybody; only a stream that does not fit alone is.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

_BATCHES_BEFORE_MORE = 64
"""Batches that have to fit before a larger one is tried: a failed attempt costs some tens of ms."""

_UNLIMITED = 2**20

Item = TypeVar("Item")
Result = TypeVar("Result")


class Fitting:
    """One kind of work and how many streams of it fit."""

    def __init__(self) -> None:
        self._most = _UNLIMITED
        self._fitted = 0  # batches, since `_most` was found

    def launch(
        self, items: Sequence[Item], work: Callable[[Sequence[Item]], Result], shed: Callable[[Item], None]
    ) -> Result | None:
        """What comes of `work` for the first of `items`, as many as fit; the others are not touched.

        `work` may be called several times, and must not have changed anything where it raises `OutOfMemoryError`. An
        item that doesn't fit alone is given to `shed`, and there is no result. Raises whatever else `work` raises.
        """
        batch = items[: self._most]
        while True:
            try:
                result = work(batch)
            except torch.OutOfMemoryError:
                pass  # not handled here: its traceback keeps the tensors that were made before it was raised
            else:
                self._fits()
                return result
            torch.cuda.empty_cache()
            if len(batch) == 1:
                shed(batch[0])
                return None
            batch = batch[: len(batch) // 2]
            self._most, self._fitted = len(batch), 0

    def _fits(self) -> None:
        self._fitted += 1
        if self._fitted == _BATCHES_BEFORE_MORE:
            self._most, self._fitted = min(2 * self._most, _UNLIMITED), 0
