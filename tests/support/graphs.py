"""What is captured on a GPU, seen without one."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from server.workers.engines.chatterbox.graphs import Work

PADDING_DB = 100.0
"""Padding is exact but for the order of sums."""


class Recorder:
    """A device that does again, with what its memory holds then, what it was seen to do."""

    def __init__(self) -> None:
        self.replays = 0

    def __call__(self, work: Work) -> Work:
        outputs = [output.clone() for output in work()]

        def again() -> Sequence[Tensor]:
            self.replays += 1
            for output, made in zip(outputs, work(), strict=True):
                output.copy_(made)
            return outputs

        return again


class Operations(TorchDispatchMode):
    """What was done: each operation with the shapes, dtypes and numbers that it was given."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.done: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = torch.utils._pytree.tree_map_only(Tensor, lambda tensor: (tensor.shape, tensor.dtype), (args, kwargs))
        self.done.append(f"{func} {given}")
        return func(*args, **(kwargs or {}))
