"""The decoder as it is captured on a GPU, without one: pure, the same for any contents, drawing the same tokens."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters
from torch._inductor import metrics
from torch.utils._python_dispatch import TorchDispatchMode

from server.bench.simulation.costs import JOIN_KERNELS, STEP_KERNELS, SWAP_KERNELS
from server.workers.engines.chatterbox import t3 as t3_module
from server.workers.engines.chatterbox.checkpoint import FULL, Checkpoint, Precision, random_checkpoint
from server.workers.engines.chatterbox.sampler import Sampling, SamplingRows, draw
from server.workers.engines.chatterbox.t3 import T3Decoder
from server.workers.engines.chatterbox.t3_model import Prefix, RowStates, T3Model
from tests.support.chatterbox import CPU, small_checkpoint, snr_db, voice
from tests.support.graphs import PADDING_DB, Operations, Recorder

POSITIONS = 128
DRAW_COMPILED = 10  # kernels, about
SETTINGS = (Sampling(3), Sampling(4, temperature=0.0), Sampling(5, top_k=5, top_p=0.5, repetition_penalty=1.4))


class Kernels(TorchDispatchMode):
    """Counts what computes something: no views, and attention as the one kernel that it is on a GPU."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten.scaled_dot_product_attention.default:
            self.count += 1
            return torch.empty_like(args[0])
        with self:  # inference mode leaves whole what others take apart
            parts = func.decompose(*args, **(kwargs or {}))
        if parts is not NotImplemented:
            return parts
        self.count += not (
            func.is_view or func in (torch.ops.aten.empty_like.default, torch.ops.aten.new_empty.default)
        )
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return small_checkpoint()


@pytest.fixture(scope="module")
def model(checkpoint: Checkpoint) -> T3Model:
    return T3Model(checkpoint.t3)


@pytest.fixture(scope="module")
def prefix(model: T3Model) -> Prefix:
    return model.prefix(voice(1, 1.0))


def rows_with(model: T3Model, prefix: Prefix) -> RowStates:
    """Two rows that the voice is in."""
    states = model.row_states(2, POSITIONS)
    states.cache[:, :, :, :, : prefix.positions] = prefix.cache[:, :, None]
    return states


def texts(model: T3Model, prefix: Prefix, tokens: int) -> list[tuple[Tensor, Tensor]]:
    """Three for the second row, one of them with draws from elsewhere, filled up to so many tokens."""
    said: list[tuple[list[int], list[int]]] = [([1, 2, 3], []), ([9] * (tokens - 1), []), ([4, 5], [7, 6500, 7])]
    return [
        model.text(1, prefix.positions, text, sampling, drawn, tokens)
        for (text, drawn), sampling in zip(said, SETTINGS, strict=True)
    ]


def all_of(states: RowStates) -> Sequence[Tensor]:
    return states.cache, *states.fields()


@torch.inference_mode()
def test_reading_is_one_graph_whatever_the_text(model: T3Model, prefix: Prefix) -> None:
    counters.clear()
    torch._dynamo.reset()
    compiled = torch.compile(model.read, fullgraph=True, backend="eager", dynamic=False)
    plain, traced = rows_with(model, prefix), rows_with(model, prefix)
    for text in texts(model, prefix, 32):
        model.read(plain, *text)
        compiled(traced, *text)
        assert all(torch.equal(one, other) for one, other in zip(all_of(plain), all_of(traced), strict=True))
    assert counters["stats"]["unique_graphs"] == 1


@torch.inference_mode()
def test_for_texts_of_one_bucket_the_same_is_done_whatever_they_say(model: T3Model, prefix: Prefix) -> None:
    done = []
    for text in texts(model, prefix, 32):
        with Operations() as operations:
            model.read(rows_with(model, prefix), *text)
        done.append(operations.done)
    assert done[0] == done[1] == done[2]
    assert len(done[0]) > 100


@torch.inference_mode()
def test_a_text_that_is_filled_up_is_read_as_without(model: T3Model, prefix: Prefix) -> None:
    for drawn in ([], [7, 6500, 7]):
        read = []
        count = 3 + 1 + len(drawn)
        for tokens in (count, 32, 64):
            states = rows_with(model, prefix)
            model.read(states, *model.text(1, prefix.positions, [1, 2, 3], Sampling(3), drawn, tokens))
            read.append(states)
        exact, *filled = read
        end = prefix.positions + count
        for states in filled:
            assert all(torch.equal(*both) for both in zip(exact.fields(), states.fields(), strict=True))
            assert snr_db(exact.cache[..., :end, :], states.cache[..., :end, :]) >= PADDING_DB
        assert exact.position[1] == end
        assert exact.step[1] == len(drawn) + 1


@torch.inference_mode()
def test_a_step_is_one_graph_whoever_advances(model: T3Model, prefix: Prefix) -> None:
    counters.clear()
    torch._dynamo.reset()
    compiled = torch.compile(model.step, fullgraph=True, backend="eager", dynamic=False)
    plain, traced = rows_with(model, prefix), rows_with(model, prefix)
    for running in (2, 1, 0):
        model.step(plain, torch.tensor(running), 2, POSITIONS)
        compiled(traced, torch.tensor(running), 2, POSITIONS)
        assert all(torch.equal(one, other) for one, other in zip(all_of(plain), all_of(traced), strict=True))
    assert plain.step.tolist() == [2, 1]
    assert counters["stats"]["unique_graphs"] == 1


@torch.inference_mode()
def test_no_more_kernels_are_started_at_full_size_than_the_simulator_reckons_with() -> None:
    """Each costs a GPU some 2 us, however little it does. The draw's 74 become a few where they are compiled."""
    device = torch.device("meta")
    t3 = random_checkpoint(FULL, device, Precision(torch.bfloat16, torch.float16)).t3
    whole = T3Model(t3)
    without_draw = T3Model(t3, lambda logits, *_: logits.new_empty(len(logits), dtype=torch.int64))
    decoder = T3Decoder(t3, rows=2, positions=POSITIONS)
    states, running = whole.row_states(2, POSITIONS), torch.zeros((), dtype=torch.int64, device=device)
    text = torch.zeros(32 + 6, dtype=torch.int64, device=device), torch.zeros(3, device=device)

    assert kernels(lambda: whole.step(states, running, 2, POSITIONS)) == STEP_KERNELS["eager"]
    assert kernels(lambda: whole.read(states, *text)) == JOIN_KERNELS["eager"]
    assert kernels(lambda: without_draw.step(states, running, 2, POSITIONS)) + DRAW_COMPILED == STEP_KERNELS["captured"]
    assert kernels(lambda: without_draw.read(states, *text)) + DRAW_COMPILED == JOIN_KERNELS["captured"]
    assert kernels(lambda: decoder.swap(0, 1)) == SWAP_KERNELS


def kernels(work: Callable[[], None]) -> int:
    started = Kernels()
    with started:
        work()
    return started.count


@torch.inference_mode()
def test_a_draw_is_one_graph_whatever_is_asked_for() -> None:
    counters.clear()
    torch._dynamo.reset()
    compiled = torch.compile(draw, fullgraph=True, backend="eager", dynamic=False)
    for seed, given in enumerate(draws()):
        assert torch.equal(draw(*given), compiled(*given)), seed
    assert counters["stats"]["unique_graphs"] == 1


@torch.inference_mode()
def test_a_compiled_draw_draws_the_same_tokens_with_few_kernels() -> None:
    torch._dynamo.reset()
    metrics.reset()
    compiled = torch.compile(draw, fullgraph=True, dynamic=True)
    for given in draws():
        assert torch.equal(draw(*given), compiled(*given))
    assert 0 < metrics.generated_kernel_count <= 8, "beside what finds the likeliest"


def draws() -> list[tuple[Tensor, SamplingRows, Tensor, Tensor]]:
    """Of two rows each, by all kinds of settings."""
    made = []
    for seed, settings in enumerate(SETTINGS):
        both = Sampling(seed), settings
        rows = SamplingRows.of(
            torch.tensor([each.whole() for each in both]), torch.tensor([each.real() for each in both])
        )
        logits = 8.0 * torch.randn(2, 6563, generator=torch.Generator().manual_seed(seed))
        made.append((logits, rows, logits > 1.0, torch.tensor([seed, 2 * seed], device=CPU)))
    return made


def drawn(checkpoint: Checkpoint, record: Recorder | None, texts: Sequence[int]) -> list[list[int]]:
    """What two rows draw in a few steps after texts of these lengths."""
    decoder = T3Decoder(checkpoint.t3, rows=2, positions=POSITIONS)
    if record:
        decoder.capture(record)
        decoder.capture_prefill(record)
    prefix = decoder.prefix(voice(1, 1.0))
    tokens = []
    for row, length in enumerate(texts):
        decoder.join(row, prefix, [1 + row] * length, Sampling(seed=row), [3] * row)
        tokens.append(decoder.token.tolist())
    for running in (2, 1, 2, 2):
        decoder.step(running)
        tokens.append(decoder.token.tolist())
    return tokens


def test_a_decoder_that_replays_draws_what_one_that_does_not_draws(checkpoint: Checkpoint) -> None:
    recorder = Recorder()
    assert drawn(checkpoint, recorder, (3, 40)) == drawn(checkpoint, None, (3, 40))
    assert recorder.replays == 2 + 4


def test_a_text_without_a_graph_or_without_room_for_its_filling_is_read_as_ever(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(t3_module, "_TEXTS_CAPTURED", range(32, 129, 96))
    recorder = Recorder()
    texts = (40, 3)  # 128 positions are more than are left behind the voice
    assert drawn(checkpoint, recorder, texts) == drawn(checkpoint, None, texts)
    assert recorder.replays == 1 + 4
