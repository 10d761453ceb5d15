"""What Inductor makes of the pieces: the same sound, kept for the next start, and never a reason not to speak."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from structlog.testing import capture_logs
from torch import Tensor
from torch._dynamo.utils import counters
from torch._inductor import codecache, config
from torch._inductor.utils import clear_caches

from server.workers.engines.chatterbox.compiling import Inductor
from server.workers.engines.chatterbox.flow_layers import activated, normed_sum
from server.workers.engines.chatterbox.flow_model import noise
from server.workers.engines.chatterbox.vocoder_layers import Source, snake
from tests.support.chatterbox import small_checkpoint, snr_db

COMPILED_DB = 100.0
CHANNELS = 24


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Inductor's cache, as yet empty."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    start_again()
    yield tmp_path
    start_again()


def start_again() -> None:
    """Forget all but what is on the disk, as a process that has ended does."""
    torch.compiler.set_stance("default")
    torch._dynamo.reset()
    clear_caches()
    counters.clear()


def found_and_made() -> tuple[int, int]:
    """Compiled graphs: how many came from the cache, how many did not."""
    return counters["inductor"]["fxgraph_cache_hit"], counters["inductor"]["fxgraph_cache_miss"]


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def snake_inputs(rows: int, time: int) -> tuple[Tensor, ...]:
    return numbers(rows, CHANNELS, time), numbers(CHANNELS, 1).abs()


def normed_sum_inputs(rows: int, time: int) -> tuple[Tensor, ...]:
    return numbers(rows, time, CHANNELS), numbers(rows, time, CHANNELS), numbers(CHANNELS), numbers(CHANNELS)


def activated_inputs(rows: int, time: int) -> tuple[Tensor, ...]:
    return numbers(rows, time, CHANNELS), numbers(CHANNELS), numbers(CHANNELS)


def source_inputs(rows: int, time: int) -> tuple[Tensor, ...]:
    seeds = torch.arange(rows)[:, None]
    return 200.0 + numbers(rows, time).double(), numbers(rows, time).double(), seeds, 480 * seeds


def noise_inputs(rows: int, time: int) -> tuple[Tensor, ...]:
    seeds = torch.arange(rows)[:, None]
    return torch.arange(time), seeds, 2 * seeds, seeds


@torch.inference_mode()
@pytest.mark.parametrize(
    ("piece", "inputs"),
    [(snake, snake_inputs), (normed_sum, normed_sum_inputs), (activated, activated_inputs)],
    ids=lambda value: value.__name__,
)
def test_it_sounds_the_same_and_is_compiled_for_one_row_and_for_any_number(
    piece: Callable[..., Any], inputs: Callable[[int, int], tuple[Tensor, ...]]
) -> None:
    compiled = Inductor()(piece)
    for rows, time in ((1, 64), (2, 64), (3, 82), (1, 97)):
        given = inputs(rows, time)
        for eager, made in zip(piece(*given), compiled(*given), strict=True):
            assert snr_db(eager, made) >= COMPILED_DB
    assert found_and_made() == (0, 2)


@torch.inference_mode()
@pytest.mark.parametrize("piece", ["source", "noise"])
def test_what_takes_long_to_compile_is_one_graph_for_any_size_too(piece: str) -> None:
    function = Source(small_checkpoint().vocoder).samples if piece == "source" else noise
    inputs = source_inputs if piece == "source" else noise_inputs
    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend="eager")
    for rows, time in ((2, 64), (3, 82), (4, 97)):
        assert torch.equal(function(*inputs(rows, time)), compiled(*inputs(rows, time)))
    assert counters["stats"]["unique_graphs"] == 1


@torch.inference_mode()
def test_the_next_start_compiles_nothing() -> None:
    made = Inductor()(snake)(*snake_inputs(2, 64))
    assert found_and_made() == (0, 1)

    start_again()
    assert torch.equal(Inductor()(snake)(*snake_inputs(2, 64)), made)
    assert found_and_made() == (1, 0)


@torch.inference_mode()
def test_a_damaged_cache_costs_no_more_than_time(cache: Path) -> None:
    made = Inductor()(snake)(*snake_inputs(2, 64))
    for path in cache.rglob("*"):
        if path.is_file():
            path.unlink()  # this process has mapped what it holds
            path.write_bytes(b"damaged")

    start_again()
    assert snr_db(made, Inductor()(snake)(*snake_inputs(2, 64))) >= COMPILED_DB


@torch.inference_mode()
def test_a_cache_of_another_torch_costs_no_more_than_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Inductor()(snake)(*snake_inputs(2, 64))

    start_again()
    monkeypatch.setattr(codecache, "torch_key", lambda: b"another")
    assert torch.equal(Inductor()(snake)(*snake_inputs(2, 64)), made)
    assert found_and_made() == (0, 1)


@torch.inference_mode()
def test_without_a_compiler_it_is_computed_eagerly_and_the_log_says_so() -> None:
    compiler = Inductor()
    compiled = compiler(snake)
    with capture_logs() as logs, config.patch({"cpp.cxx": ("no-such-compiler",)}):
        for _ in range(2):
            assert torch.equal(compiled(*snake_inputs(2, 64)), snake(*snake_inputs(2, 64)))
    assert [(line["event"], line["piece"], line["log_level"]) for line in logs] == [
        ("piece_not_compiled", "snake", "warning")
    ]
    assert compiler.failed == {"snake"}


@torch.inference_mode()
def test_once_callers_may_come_nothing_is_compiled() -> None:
    compiler = Inductor()
    compiled = compiler(snake)
    compiled(*snake_inputs(2, 64))
    with capture_logs() as logs:
        compiler.settle()
    assert torch.equal(compiled(*snake_inputs(1, 64)), snake(*snake_inputs(1, 64)))
    assert found_and_made() == (0, 1)
    assert [(line["event"], line["compiled"], line["from_cache"]) for line in logs] == [("pieces_compiled", 1, 0)]
