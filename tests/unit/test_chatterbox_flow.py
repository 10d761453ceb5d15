"""Both forms of the flow, against upstream's own and against themselves in other company."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from chatterbox.models.s3gen import decoder as upstream_decoder
from chatterbox.models.s3gen import flow_matching
from chatterbox.models.s3gen.transformer import upsample_encoder as upstream_encoder
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from server.workers.engines.chatterbox.checkpoint import SMALL, Checkpoint, Precision, random_checkpoint
from server.workers.engines.chatterbox.conditionals import Conditionals
from server.workers.engines.chatterbox.flow import Flow, FlowHop, FlowStream, WindowedFlow
from server.workers.engines.chatterbox.flow_chunked import ChunkedFlow
from server.workers.engines.chatterbox.flow_model import LOOKAHEAD, PROMPT_SEED
from server.workers.engines.chatterbox.noise import normal
from tests.support.chatterbox import (
    CPU,
    EXACT_DB,
    cut,
    full_checkpoint,
    small_checkpoint,
    snr_db,
    speech_tokens,
    voice,
)

SIZES = ([19, 16, 25], [1], [50], [2, 70, 5, 40])


def upstream_mel(checkpoint: Checkpoint, speaker: Conditionals, tokens: Tensor, seed: int) -> Tensor:
    """What upstream's own flow makes in one go of the noise that ours would draw: float32 [80, frames]."""
    prompt, frames = len(speaker.prompt_mel), 2 * len(tokens)
    noise = torch.cat([_noise(PROMPT_SEED, -prompt, 0), _noise(seed, 0, frames)], dim=-1)
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(None):
        patch.setattr(flow_matching.torch, "randn_like", lambda _: noise.clone())
        patch.setattr(flow_matching, "tqdm", lambda steps, **_: steps)
        mel: Tensor = checkpoint.flow.inference(
            token=tokens[None],
            token_len=torch.tensor([len(tokens)]),
            prompt_token=speaker.prompt_tokens[None],
            prompt_token_len=torch.tensor([len(speaker.prompt_tokens)]),
            prompt_feat=speaker.prompt_mel[None],
            prompt_feat_len=None,
            embedding=speaker.xvector[None],
            finalize=True,
            n_timesteps=2,
            meanflow=True,
        )[0]
    return mel[0]


def _noise(seed: int, start: int, end: int) -> Tensor:
    return normal(torch.tensor(seed), torch.arange(start, end), torch.arange(80)[:, None])[None]


@contextlib.contextmanager
def upstream_masked(blocks: Sequence[int]) -> Iterator[None]:
    """Upstream with a mask under which blocks of so many tokens see themselves and those before."""
    block = torch.repeat_interleave(torch.arange(len(blocks)), torch.tensor(blocks))

    def mask(xs: Tensor, *_: object) -> Tensor:
        places = block.repeat_interleave(xs.shape[1] // len(block))
        return (places[None] <= places[:, None])[None]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upstream_encoder, "add_optional_chunk_mask", mask)
        patch.setattr(upstream_decoder, "add_optional_chunk_mask", mask)
        yield


def streamed(flow: Flow, stream: FlowStream, tokens: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """The frames of each hop when tokens come in pieces of these sizes."""
    pieces = cut(len(tokens), sizes)
    return [
        mel
        for piece in pieces
        for mel in flow.render([FlowHop(stream, tokens[piece].tolist(), final=piece is pieces[-1])])
    ]


@pytest.fixture(params=[WindowedFlow, ChunkedFlow])
def flow(request: pytest.FixtureRequest) -> Flow:
    form: Flow = request.param(small_checkpoint().flow)
    return form


@pytest.mark.parametrize("seconds", [0.04, 0.6, 3.0, 12.0])
def test_one_window_is_what_upstream_makes(seconds: float) -> None:
    flow, speaker, tokens = WindowedFlow(small_checkpoint().flow), voice(1), speech_tokens(2, seconds)
    stream = flow.open(flow.voice(speaker), seed=3)
    (mel,) = flow.render([FlowHop(stream, tokens.tolist(), final=True)])
    assert mel.dtype == torch.float32
    assert snr_db(upstream_mel(small_checkpoint(), speaker, tokens, seed=3), mel) >= EXACT_DB


def test_the_full_shape_is_what_upstream_makes() -> None:
    checkpoint, speaker, tokens = full_checkpoint(), voice(1, 1.0), speech_tokens(2, 1.0)
    reference = upstream_mel(checkpoint, speaker, tokens, seed=3)
    flow = WindowedFlow(checkpoint.flow)
    (mel,) = flow.render([FlowHop(flow.open(flow.voice(speaker), seed=3), tokens.tolist(), final=True)])
    assert snr_db(reference, mel) >= EXACT_DB
    chunked = ChunkedFlow(checkpoint.flow)
    mel = torch.cat(streamed(chunked, chunked.open(chunked.voice(speaker), seed=3), tokens, [16]), dim=1)
    with upstream_masked([25 - LOOKAHEAD, 16, 9 + LOOKAHEAD]):
        assert snr_db(upstream_mel(checkpoint, speaker, tokens, seed=3), mel) >= EXACT_DB


@pytest.mark.parametrize("sizes", SIZES)
def test_chunks_are_what_upstream_makes_in_one_go_with_their_mask(sizes: list[int]) -> None:
    flow, speaker, tokens = ChunkedFlow(small_checkpoint().flow), voice(1), speech_tokens(2, 3.0)
    mel = torch.cat(streamed(flow, flow.open(flow.voice(speaker), seed=3), tokens, sizes), dim=1)
    blocks = [len(range(len(tokens))[piece]) for piece in cut(len(tokens), sizes)]
    blocks[-1] += LOOKAHEAD
    with upstream_masked([len(speaker.prompt_tokens) - LOOKAHEAD, *blocks]):
        reference = upstream_mel(small_checkpoint(), speaker, tokens, seed=3)
    assert snr_db(reference, mel) >= EXACT_DB


@pytest.mark.parametrize("sizes", SIZES)
def test_each_frame_comes_once_and_as_soon_as_it_can(flow: Flow, sizes: list[int]) -> None:
    tokens = speech_tokens(2, 1.6)
    frames = [mel.shape[1] for mel in streamed(flow, flow.open(flow.voice(voice(1)), seed=3), tokens, sizes)]
    given, expected = 0, []
    for piece in cut(len(tokens), sizes):
        before, given = given, given + len(tokens[piece])
        done = given if given == len(tokens) else max(given - LOOKAHEAD, 0)
        expected.append(2 * (done - max(before - LOOKAHEAD, 0)))
    assert frames == expected


def test_company_changes_nothing(flow: Flow) -> None:
    speakers = [voice(1, 2.0), voice(2, 1.2), voice(3, 2.6), voice(1, 2.0)]
    texts = [speech_tokens(10, 3.0), speech_tokens(11, 1.0), speech_tokens(12, 2.2), speech_tokens(13, 0.2)]
    sizes: list[list[int]] = [[19, 16, 25], [25], [7], [50]]
    voices = [flow.voice(speaker) for speaker in speakers]
    alone = [
        torch.cat(streamed(flow, flow.open(each, seed), tokens, by), dim=1)
        for seed, (each, tokens, by) in enumerate(zip(voices, texts, sizes, strict=True))
    ]
    streams = [flow.open(each, seed) for seed, each in enumerate(voices)]
    cuts = [cut(len(tokens), by) for tokens, by in zip(texts, sizes, strict=True)]
    together: list[list[Tensor]] = [[] for _ in streams]
    for turn in range(max(map(len, cuts))):
        here = [index for index, pieces in enumerate(cuts) if turn < len(pieces)]
        hops = [
            FlowHop(streams[index], texts[index][cuts[index][turn]].tolist(), turn == len(cuts[index]) - 1)
            for index in here
        ]
        for index, mel in zip(here, flow.render(hops), strict=True):
            together[index].append(mel)
    for one, mels in zip(alone, together, strict=True):
        assert snr_db(one, torch.cat(mels, dim=1)) >= EXACT_DB


class Copies(TorchDispatchMode):
    """How much was put together of at least so many positions."""

    def __init__(self, positions: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.positions, self.count = positions, 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        if func.overloadpacket is torch.ops.aten.cat:
            self.count += made.numel() if made.shape[-2] >= self.positions else 0
        return made


def test_what_is_kept_is_copied_once_a_hop() -> None:
    flow = ChunkedFlow(small_checkpoint().flow)
    stream = flow.open(flow.voice(voice(1)), seed=3)
    flow.render([FlowHop(stream, speech_tokens(2, 3.0).tolist(), final=False)])
    kept = [part.attention for part in (stream.memories.tokens, stream.memories.frames)]
    with Copies(stream.memories.tokens.kept) as copies:
        flow.render([FlowHop(stream, speech_tokens(3, 1.0).tolist(), final=False)])
    assert copies.count == sum(block.numel() for blocks in kept for block in blocks)


def test_two_instances_with_one_seed_agree(flow: Flow) -> None:
    other = type(flow)(random_checkpoint(SMALL, CPU, Precision.best(CPU)).flow)
    one, two = (
        torch.cat(streamed(each, each.open(each.voice(voice(1)), seed=3), speech_tokens(2, 2.0), [19, 16]), dim=1)
        for each in (flow, other)
    )
    assert torch.equal(one, two)


def test_another_seed_sounds_otherwise(flow: Flow) -> None:
    one, two = (
        torch.cat(streamed(flow, flow.open(flow.voice(voice(1)), seed), speech_tokens(2, 1.0), [25]), dim=1)
        for seed in (3, 4)
    )
    assert snr_db(one, two) < 20


def test_a_window_forgets_what_is_older() -> None:
    """Nothing before it counts, and a hop longer than it is still whole."""
    flow, tokens = WindowedFlow(small_checkpoint().flow, window_tokens=30), speech_tokens(2, 4.0)
    stream, other = (flow.open(flow.voice(voice(1)), seed=3) for _ in range(2))
    last = streamed(flow, stream, tokens, [60, 20])[-1]
    changed = torch.cat([speech_tokens(5, 2.0), tokens[50:]])
    assert torch.equal(streamed(flow, other, changed, [60, 20])[-1], last)
    assert (
        flow.render([FlowHop(flow.open(flow.voice(voice(1)), seed=3), tokens.tolist(), final=True)])[0].shape[1] == 200
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_near(dtype: torch.dtype) -> None:
    """Ids stay what they are, and so do the times and places that are made into sinusoids."""
    halved = random_checkpoint(SMALL, CPU, Precision(t3=torch.float32, flow=dtype)).flow
    tokens = speech_tokens(2, 2.0)
    for form in (WindowedFlow, ChunkedFlow):
        exact, half = (
            torch.cat(streamed(each, each.open(each.voice(voice(1)), seed=3), tokens, [25]), dim=1)
            for each in (form(small_checkpoint().flow), form(halved))
        )
        assert half.dtype == torch.float32
        assert snr_db(exact, half) >= (45 if dtype == torch.float16 else 25)


def test_a_hop_that_fails_has_changed_nothing(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine sheds a stream when memory runs out, and renders the hops of the others again."""
    streams = [flow.open(flow.voice(voice(seed)), seed) for seed in range(2)]
    tokens = speech_tokens(2, 1.0).tolist()
    hops = [FlowHop(streams[0], tokens, final=False), FlowHop(streams[1], tokens[:5], final=False)]
    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.functional, "scaled_dot_product_attention", _out_of_memory_in_the_second_batch())
        with pytest.raises(torch.OutOfMemoryError):
            flow.render(hops)
    again, fresh = flow.render(hops), flow.render([FlowHop(flow.open(flow.voice(voice(0)), 0), tokens, final=False)])
    assert snr_db(fresh[0], again[0]) >= EXACT_DB


def _out_of_memory_in_the_second_batch() -> Callable[..., Tensor]:
    attention, calls = torch.nn.functional.scaled_dot_product_attention, iter(range(14))  # 11 in the first

    def attended(*args: Any, **options: Any) -> Tensor:
        if next(calls, None) is None:
            raise torch.OutOfMemoryError
        return attention(*args, **options)

    return attended
