"""In which numbers a device computes."""

import pytest
import torch

from server.workers.engines.chatterbox.checkpoint import Precision

FP16, BF16, FP32 = torch.float16, torch.bfloat16, torch.float32


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((7, 5), Precision(FP16, FP16)), ((8, 6), Precision(BF16, FP16)), ((9, 0), Precision(BF16, FP16))],
    ids=["T4", "A10G", "H200"],
)
def test_no_dtype_is_one_that_the_device_only_emulates(
    capability: tuple[int, int], expected: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    def supported(including_emulation: bool = True) -> bool:
        return including_emulation or capability >= (8, 0)

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)

    assert Precision.best(torch.device("cuda")) == expected


def test_a_cpu_computes_in_float32() -> None:
    assert Precision.best(torch.device("cpu")) == Precision(FP32, FP32)
