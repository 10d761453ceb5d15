"""What the bench measures of a hop, whose pieces can't be compiled while operations are counted."""

from collections.abc import Callable, Iterator

import pytest
import torch

from server.bench.chatterbox_profile import hop_profile
from server.workers.engines.chatterbox.compiling import EAGER, Compiler, Parameters, Result
from server.workers.engines.chatterbox.flow import WindowedFlow
from server.workers.engines.chatterbox.vocoder import Vocoder
from tests.support.chatterbox import small_checkpoint, voice


class _Dynamo:
    """Traces as for Inductor, and generates no code."""

    def __call__(self, piece: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        return torch.compile(piece, fullgraph=True, dynamic=True, backend="eager")

    def settle(self) -> None:
        """See `Compiler`."""


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What other tests have compiled, and how they left it."""
    torch.compiler.set_stance("default")
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def test_operations_of_compiled_parts_are_those_of_eager_ones() -> None:
    checkpoint = small_checkpoint()

    def counted(compiler: Compiler) -> tuple[int, int]:
        flow, vocoder = WindowedFlow(checkpoint.flow, compiler), Vocoder(checkpoint.vocoder, compiler)
        profile = hop_profile(flow, vocoder, voice(1), torch.device("cpu"), 1)
        return profile.flow_flops, profile.vocoder_flops

    assert counted(_Dynamo()) == counted(EAGER)
