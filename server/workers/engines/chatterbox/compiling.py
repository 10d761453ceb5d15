"""Pieces of the model that Inductor compiles: pure functions of tensors, whose element-wise work becomes one kernel.

The pieces are small, what pays by the number of its launches, and compiled for any size: a whole vocoder takes minutes
to compile, and half a minute to be found in the cache. What is around them stays eager or is captured (`graphs`).
"""

import time
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, Protocol, TypeVar

import structlog
import torch
from torch._dynamo.exc import TorchDynamoException
from torch._dynamo.utils import counters
from torch._inductor import config

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

log = structlog.get_logger(__name__)


class Compiler(Protocol):
    """Decides how pieces are computed."""

    def __call__(self, piece: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        """What computes `piece`, a pure function whose positional arguments are tensors."""
        ...

    def settle(self) -> None:
        """The warm-up is over: from here on nothing may be compiled."""
        ...


class Eager:
    """Compiles nothing."""

    def __call__(self, piece: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        """See `Compiler`."""
        return piece

    def settle(self) -> None:
        """See `Compiler`."""


EAGER = Eager()


class Inductor:
    """Compiles each piece when it is first called; one that can't be compiled is computed as `Eager` does.

    What it makes is kept in TORCHINDUCTOR_CACHE_DIR, under a hash of the piece, the versions of torch and Triton, the
    device and the compiler's settings: a process that finds it there compiles nothing.
    """

    def __init__(self) -> None:
        config.compile_threads = 1  # starting a pool of processes takes longer than the few pieces do
        self._pieces: set[str] = set()
        self.failed: set[str] = set()
        self._began = time.monotonic()

    def __call__(self, piece: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        """See `Compiler`."""
        name = piece.__qualname__
        self._pieces.add(name)
        compiled = torch.compile(piece, fullgraph=True, dynamic=True)

        @wraps(piece)
        def computed(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            if name not in self.failed:
                try:
                    return compiled(*args, **kwargs)
                except TorchDynamoException as error:
                    self.failed.add(name)
                    log.warning("piece_not_compiled", piece=name, error=type(error).__name__)
            return piece(*args, **kwargs)

        return computed

    def settle(self) -> None:
        """See `Compiler`. A size that no code is valid for is computed eagerly, so that no caller waits for more."""
        torch.compiler.set_stance("eager_on_recompile")
        log.info(
            "pieces_compiled",
            pieces=len(self._pieces - self.failed),
            from_cache=counters["inductor"]["fxgraph_cache_hit"],
            compiled=counters["inductor"]["fxgraph_cache_miss"],
            seconds=round(time.monotonic() - self._began, 1),
        )
