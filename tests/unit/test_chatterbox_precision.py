"""In which numbers a device computes."""

import pytest
import torch

from server.workers.engines.chatterbox.checkpoint import SMALL, Precision, random_checkpoint
from server.workers.engines.chatterbox.sampler import Sampling
from server.workers.engines.chatterbox.t3 import T3Decoder
from tests.support.chatterbox import CPU, voice

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


def test_a_request_that_overflows_leaves_nothing_to_the_next_one_in_its_row() -> None:
    """A mask hides what is beyond a row's end, but not what is no number: nothing times that is no number either."""
    checkpoint = random_checkpoint(SMALL, CPU, Precision(FP16, FP32))
    overflowing, text = 7, [1, 2, 3]
    checkpoint.t3.text_emb.weight.data[overflowing] = torch.inf

    def drawn(decoder: T3Decoder) -> list[int]:
        tokens = []
        decoder.join(0, decoder.prefix(voice(1, 1.0)), text, Sampling(seed=0))
        for _ in range(4):
            decoder.step(1)
            tokens.append(int(decoder.token[0]))
        return tokens

    fresh, used = (T3Decoder(checkpoint.t3, rows=1, positions=128) for _ in range(2))
    used.join(0, used.prefix(voice(1, 1.0)), [1] * 20 + [overflowing], Sampling(seed=0))

    assert drawn(used) == drawn(fresh)
