"""How many streams fit: found by what fails, and forgotten again."""

from collections.abc import Sequence

import pytest
import torch

from server.workers.engines.chatterbox.fitting import Fitting


class Device:
    """Its memory holds so many items."""

    def __init__(self, holds: int) -> None:
        self.holds = holds
        self.tried: list[int] = []
        self.shed: list[int] = []

    def work(self, items: Sequence[int]) -> Sequence[int]:
        self.tried.append(len(items))
        if len(items) > self.holds:
            raise torch.OutOfMemoryError
        return items

    def launch(self, fitting: Fitting, count: int) -> Sequence[int] | None:
        return fitting.launch(list(range(count)), self.work, self.shed.append)


def test_the_first_of_a_batch_come_first_and_the_next_batch_is_no_larger() -> None:
    device, fitting = Device(5), Fitting()

    assert device.launch(fitting, 16) == [0, 1, 2, 3]
    assert device.launch(fitting, 12) == [0, 1, 2, 3]
    assert device.tried == [16, 8, 4, 4]
    assert device.shed == []


def test_after_a_while_more_is_tried_again() -> None:
    device, fitting = Device(5), Fitting()
    device.launch(fitting, 16)
    device.holds = 16
    for _ in range(300):
        largest = device.launch(fitting, 16)

    assert largest == list(range(16))
    assert device.tried.count(4) > 50, "an attempt that fails is dear"


def test_what_does_not_fit_alone_is_shed_and_the_others_come_next() -> None:
    device, fitting = Device(0), Fitting()

    assert device.launch(fitting, 4) is None
    assert device.shed == [0]


def test_other_failures_are_not_its_business() -> None:
    with pytest.raises(RuntimeError, match="illegal memory access"):
        Fitting().launch([1, 2], lambda _: _broken(), lambda _: None)


def _broken() -> None:
    raise RuntimeError("an illegal memory access was encountered")
