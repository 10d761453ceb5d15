"""What compiling pieces of flow and vocoder saves, and what it costs a start: `python -m tests.bench.compiled_pieces`.

On this machine's CPU, with weights that were never trained: the small shape with as many layers as the full one.
Launches are operations that compute; a compiled piece has those of the code that Inductor wrote for it. Two starts,
each in a process of its own: the first with an empty cache, the second with what the first left there.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._dynamo.utils import counters
from torch._inductor.utils import run_and_get_code
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from server.workers.engines.chatterbox.checkpoint import FULL, SMALL, Precision, random_checkpoint
from server.workers.engines.chatterbox.compiling import EAGER, Inductor
from server.workers.engines.chatterbox.flow_model import FlowModel
from server.workers.engines.chatterbox.vocoder import Vocoder
from tests.bench.markdown import table
from tests.support.chatterbox import CPU, snr_db

_SHAPE = replace(
    SMALL,
    encoder_blocks=FULL.encoder_blocks,
    estimator_blocks=FULL.estimator_blocks,
    estimator_stages=FULL.estimator_stages,
)
_LAUNCH = re.compile(r"^\s+(cpp_fused\w*|extern_kernels\.\w+)\(", re.MULTILINE)
_TOKENS = 64


class _Launches(TorchDispatchMode):
    """How many operations compute something: those that make views, and dropout in use, do not."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        views = any(each.alias_info and not each.alias_info.is_write for each in func._schema.returns)
        self.count += not views and func is not torch.ops.aten.dropout.default
        return func(*args, **(kwargs or {}))


class _Measuring:
    """A compiler that notes of each piece how many launches it has, and how long its first calls take."""

    def __init__(self) -> None:
        self._inductor = Inductor()
        self.launches: dict[str, int] = {}
        self.seconds: dict[str, float] = {}
        self.saved: _Launches | None = None

    def __call__(self, piece: Callable[..., Any]) -> Callable[..., Any]:
        name, compiled = piece.__qualname__, self._inductor(piece)

        def computed(*args: Tensor) -> Any:
            with _disable_current_modes():
                began = time.perf_counter()
                if name in self.launches:
                    made = compiled(*args)
                else:
                    made, codes = run_and_get_code(compiled, *args)
                    self.launches[name] = sum(len(_LAUNCH.findall(code)) for code in codes)
                self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began
            if self.saved:
                self.saved.count += self.launches[name]
            return made

        return computed

    def settle(self) -> None:
        self._inductor.settle()


@torch.inference_mode()
def _start() -> dict[str, Any]:
    """Everything once for one row and once for two, as a warm-up does."""
    checkpoint = random_checkpoint(_SHAPE, CPU, Precision.best(CPU))
    compiler = _Measuring()
    forms = {
        name: (FlowModel(checkpoint.flow, each), Vocoder(checkpoint.vocoder, each))
        for name, each in (("eager", EAGER), ("compiled", compiler))
    }
    report: dict[str, Any] = {}
    for rows in (1, 2):
        flow = forms["eager"][0]
        inputs = flow.inputs([flow.blank(_TOKENS)] * rows, _TOKENS)
        mel = torch.randn(rows, 80, 2 * _TOKENS, generator=torch.Generator().manual_seed(rows))
        window = mel, torch.arange(rows)[:, None] * torch.tensor([1, 0, 0]), torch.zeros(rows, dtype=torch.float64)
        for part, work in {
            "flow": lambda form, given=inputs: form[0].windows(given, padded=True),
            "vocoder": lambda form, given=window: form[1].forward(*given)[0],
        }.items():
            made = {}
            for name, form in forms.items():
                work(form)
                with _Launches() as launches:
                    compiler.saved = launches
                    made[name] = work(form)
                    compiler.saved = None
                report[f"{part} {name}"] = launches.count
            report[f"{part} dB"] = snr_db(made["eager"], made["compiled"])
    return report | {
        "seconds": compiler.seconds,
        "found": counters["inductor"]["fxgraph_cache_hit"],
        "made": counters["inductor"]["fxgraph_cache_miss"],
    }


def main() -> None:
    if sys.argv[1:] == ["start"]:
        print(json.dumps(_start()))
        return
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-W", "ignore", "-m", __spec__.name, "start"]
        environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": cache}
        first, second = (
            json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
            for _ in range(2)
        )
        size = sum(path.stat().st_size for path in Path(cache).rglob("*") if path.is_file())
    print(
        table(
            ["part", "launches eager", "compiled", "difference, dB"],
            [
                [part, first[f"{part} eager"], first[f"{part} compiled"], round(first[f"{part} dB"])]
                for part in ("flow", "vocoder")
            ],
        )
    )
    print()
    print(
        table(
            ["piece", "first start, s", "second start, s"],
            [[name, f"{seconds:.1f}", f"{second['seconds'][name]:.1f}"] for name, seconds in first["seconds"].items()],
        )
    )
    print(
        f"\nCompiled {first['made']}, then {second['made']}; found {second['found']}. "
        f"The cache has {size / 1e6:.1f} MB."
    )


if __name__ == "__main__":
    main()
