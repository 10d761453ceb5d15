"""Where would the host wait for a device? Found without one: tensors on `DEVICE` have shapes and no values.

What needs a value of one (`item`, `bool`, an index by mask) raises by itself. What is copied to it has to come from
pinned memory; here memory is pinned in name only.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

DEVICE = torch.device("meta")


@contextmanager
def no_waits() -> Iterator[None]:
    """Raises `AssertionError` where something is sent to `DEVICE` in a way for which the host would wait."""
    with _MakesNothingOnTheHost(), _SendsPinnedMemoryOnly():
        yield


class _MakesNothingOnTheHost(TorchFunctionMode):
    """Numbers of the host's that are made into a tensor on the device: sent where no dispatcher sees it."""

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func in (torch.tensor, torch.as_tensor, torch.asarray)
        device = torch.device((kwargs or {}).get("device") or "cpu")
        assert not made or device != DEVICE, f"{func.__name__} sends what it makes, and the host waits"
        return func(*args, **(kwargs or {}))


class _SendsPinnedMemoryOnly(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._pinned: list[Tensor] = []  # held, so that no other memory has the same address

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in (torch.ops.aten.pin_memory.default, torch.ops.aten._pin_memory.default):
            self._pinned.append(args[0].clone())
            return self._pinned[-1]
        with self:  # inference mode leaves whole what others take apart
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        if func is torch.ops.aten._to_copy.default and torch.device(kwargs.get("device") or "cpu") == DEVICE:
            self._check(args[0], kwargs.get("non_blocking", False))
        if func is torch.ops.aten.copy_.default and args[0].device == DEVICE:
            self._check(args[1], (args[2:] or (kwargs.get("non_blocking", False),))[0])
        return func(*args, **kwargs)

    def _check(self, source: Tensor, non_blocking: bool) -> None:
        if source.device.type != "cpu":
            return
        addresses = {tensor.untyped_storage().data_ptr() for tensor in self._pinned}
        assert non_blocking, "a copy to the device blocks"
        assert source.untyped_storage().data_ptr() in addresses, "a copy to the device of memory that is not pinned"
