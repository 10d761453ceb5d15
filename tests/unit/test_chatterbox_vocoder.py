"""The streamed vocoder, against upstream's own in one go and against itself in other company."""

import math
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any

import pytest
import torch
from chatterbox.models.s3gen import hifigan
from chatterbox.models.s3gen.hifigan import HiFTGenerator
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from server.workers.engines.chatterbox.checkpoint import SMALL, Precision, random_checkpoint
from server.workers.engines.chatterbox.noise import normal, uniform
from server.workers.engines.chatterbox.vocoder import WITHHELD, Vocoder, VocoderHop
from tests.support.chatterbox import CPU, EXACT_DB, cut, full_checkpoint, small_checkpoint, snr_db

FRAME = 480
FADE = torch.cat([torch.zeros(480), (torch.cos(torch.linspace(math.pi, 0, 480)) + 1) / 2])


def mel_of(seed: int, frames: int) -> Tensor:
    """float32 [80, frames]: smooth in time, as speech is, and voiced here and there."""
    noise = torch.randn(1, 80, frames + 4, generator=torch.Generator().manual_seed(seed))
    return 2.0 * torch.nn.functional.avg_pool1d(noise, 5, 1)[0]


def upstream_audio(module: HiFTGenerator, mel: Tensor, seed: int) -> Tensor:
    """What upstream makes of the draws that ours would make, and its fade: float64 [samples].

    In float64, because its phase is a sum over all samples that has lost 60 dB in float32 after some seconds.
    """
    module = deepcopy(module).double()
    key = torch.tensor(seed)
    module.stft_window = module.stft_window.double()
    weights = module.m_source.l_linear.weight[0][:, None]
    samples = torch.arange(mel.shape[1] * FRAME)
    # Ours draws the weighted sum of nine noises at once: here they are nine that have that sum.
    noise = (weights / weights.norm() * normal(key, -1, samples))[None]
    phases = (2 * uniform(key, -2, torch.arange(1, 10)).double() - 1) * math.pi
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(hifigan.Uniform, "sample", lambda *_, **__: phases[None, :, None].clone())
            patch.setattr(hifigan.torch, "randn_like", lambda like: noise if like.shape == noise.shape else like)
            audio, _ = module.inference(mel.double()[None])
    finally:
        torch.set_default_dtype(torch.float32)
    faded: Tensor = audio[0].clone()
    faded[: len(FADE)] *= FADE[: len(faded)]
    return faded


def streamed(vocoder: Vocoder, seed: int, mel: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """The samples of each hop when frames come in pieces of these sizes."""
    stream, pieces = vocoder.open(seed), cut(mel.shape[1], sizes)
    return [
        samples
        for piece in pieces
        for samples in vocoder.render([VocoderHop(stream, mel[:, piece], final=piece is pieces[-1])])
    ]


@pytest.fixture(scope="module")
def module() -> HiFTGenerator:
    """One whose voice goes up and down, and now and then away."""
    module = deepcopy(small_checkpoint().vocoder)
    module.f0_predictor.classifier.weight.mul_(6.0)
    module.f0_predictor.classifier.bias.fill_(110.0)
    voiced = (module.f0_predictor(mel_of(1, 200)[None]) > 10).float().mean()
    assert 0.6 < voiced < 0.9
    return module


@pytest.fixture(scope="module")
def vocoder(module: HiFTGenerator) -> Vocoder:
    return Vocoder(module)


def test_streamed_is_what_upstream_makes_in_one_go(module: HiFTGenerator, vocoder: Vocoder) -> None:
    mel = mel_of(1, 150)
    reference = upstream_audio(module, mel, seed=3)

    @settings(max_examples=8, derandomize=True)
    @given(st.lists(st.integers(1, 60), min_size=1, max_size=8))
    def in_hops_of(sizes: list[int]) -> None:
        audio = torch.cat(streamed(vocoder, 3, mel, sizes))
        assert snr_db(reference, audio) >= EXACT_DB
        assert snr_db(reference[len(FADE) :], audio[len(FADE) :]) >= EXACT_DB

    in_hops_of()


def test_the_full_shape_is_what_upstream_makes() -> None:
    module, mel = full_checkpoint().vocoder, mel_of(1, 50)
    audio = torch.cat(streamed(Vocoder(module), 3, mel, [20]))
    assert snr_db(upstream_audio(module, mel, seed=3), audio) >= EXACT_DB


@pytest.mark.parametrize("frames", [3, WITHHELD, WITHHELD + 1, 40])
def test_a_very_short_stream_is_what_upstream_makes(module: HiFTGenerator, vocoder: Vocoder, frames: int) -> None:
    mel = mel_of(frames, frames)
    reference = upstream_audio(module, mel, seed=3)
    for sizes in ([frames], [2]):
        assert snr_db(reference, torch.cat(streamed(vocoder, 3, mel, sizes))) >= EXACT_DB


def test_a_stream_shorter_than_the_mute_is_silent(vocoder: Vocoder) -> None:
    (audio,) = streamed(vocoder, 3, mel_of(1, 1), [1])
    assert torch.equal(audio, torch.zeros(FRAME))


def test_a_stream_can_end_with_nothing_new(vocoder: Vocoder) -> None:
    mel = mel_of(1, 40)
    stream = vocoder.open(3)
    (first,) = vocoder.render([VocoderHop(stream, mel, final=False)])
    (last,) = vocoder.render([VocoderHop(stream, mel[:, :0], final=True)])
    assert snr_db(torch.cat(streamed(vocoder, 3, mel, [40])), torch.cat([first, last])) >= EXACT_DB
    (nothing,) = vocoder.render([VocoderHop(vocoder.open(3), mel[:, :0], final=True)])
    assert nothing.shape == (0,)


def test_samples_wait_for_no_more_than_they_depend_on(vocoder: Vocoder) -> None:
    lengths = [len(samples) for samples in streamed(vocoder, 3, mel_of(1, 100), [10, 20, 30])]
    assert lengths == [frames * FRAME for frames in (0, 30 - WITHHELD, 30, 10, 20, 10 + WITHHELD)]


def test_company_changes_nothing(vocoder: Vocoder) -> None:
    mels = [mel_of(seed, frames) for seed, frames in enumerate([200, 150, 60, 12, 170, 90])]
    sizes = [[32, 50, 50], [32, 32, 50], [50], [12], [5, 30, 45], [20, 50, 10]]
    alone = [
        torch.cat(streamed(vocoder, seed, mel, by)) for seed, (mel, by) in enumerate(zip(mels, sizes, strict=True))
    ]
    streams = [vocoder.open(seed) for seed in range(len(mels))]
    cuts = [cut(mel.shape[1], by) for mel, by in zip(mels, sizes, strict=True)]
    together: list[list[Tensor]] = [[] for _ in mels]
    for turn in range(max(map(len, cuts))):
        here = [index for index, pieces in enumerate(cuts) if turn < len(pieces)]
        hops = [
            VocoderHop(streams[index], mels[index][:, cuts[index][turn]], turn == len(cuts[index]) - 1)
            for index in here
        ]
        for index, samples in zip(here, vocoder.render(hops), strict=True):
            together[index].append(samples)
    for one, many in zip(alone, together, strict=True):
        assert snr_db(one, torch.cat(many)) >= EXACT_DB


def test_streams_of_unlike_hops_share_batches_once_they_have_a_past(vocoder: Vocoder, decoded: list[int]) -> None:
    """The first hop of each is of a length of its own; the windows of later ones can be lengthened into the past."""
    streams, sizes = [vocoder.open(seed) for seed in range(4)], [40, 44, 48, 52]
    for turn in range(4):
        vocoder.render([VocoderHop(each, mel_of(turn, size), False) for each, size in zip(streams, sizes, strict=True)])
        if turn == 0:
            assert decoded == [1, 1, 1, 1]
    assert decoded[-1] == 4


@pytest.fixture
def decoded(module: HiFTGenerator) -> Iterator[list[int]]:
    """The sizes of the batches that were decoded."""
    sizes: list[int] = []
    hook = module.conv_pre.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    yield sizes
    hook.remove()


def test_the_pitch_is_exact_where_convolutions_are_rounded(
    module: HiFTGenerator, vocoder: Vocoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cuDNN rounds what float32 convolutions multiply to TF32, 10 bits of mantissa. An error in the pitch adds up in
    the phase: within 3 s it would be all that is heard."""
    mel = mel_of(1, 150)
    exact = torch.cat(streamed(vocoder, 3, mel, [50]))
    for name in ("conv1d", "conv_transpose1d"):
        monkeypatch.setattr(torch.nn.functional, name, _in_tf32(getattr(torch.nn.functional, name)))
    assert snr_db(exact, torch.cat(streamed(vocoder, 3, mel, [50]))) > 55.0


def _in_tf32(convolve: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def rounded(x: Tensor) -> Tensor:
        return ((x.contiguous().view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)

    return lambda x, weight, *args: convolve(rounded(x), rounded(weight), *args)


def test_two_instances_with_one_seed_agree() -> None:
    mel = mel_of(1, 100)
    one, two = (
        torch.cat(streamed(Vocoder(random_checkpoint(SMALL, CPU, Precision.best(CPU)).vocoder), 3, mel, [30]))
        for _ in range(2)
    )
    assert torch.equal(one, two)


def test_another_seed_sounds_otherwise(vocoder: Vocoder) -> None:
    one, two = (torch.cat(streamed(vocoder, seed, mel_of(1, 60), [30])) for seed in (3, 4))
    assert snr_db(one, two) < 40


def test_a_hop_that_fails_has_changed_nothing(vocoder: Vocoder, module: HiFTGenerator) -> None:
    """The engine sheds a stream when memory runs out, and renders the hops of the others again."""
    stream, mel = vocoder.open(3), mel_of(1, 120)
    first = vocoder.render([VocoderHop(stream, mel[:, :50], final=False)])[0]
    other = VocoderHop(vocoder.open(4), mel[:, :30], final=True)
    hook = module.conv_post.register_forward_hook(_out_of_memory_in_the_second_batch())
    with pytest.raises(torch.OutOfMemoryError):
        vocoder.render([VocoderHop(stream, mel[:, 50:], final=True), other])
    hook.remove()
    last = vocoder.render([VocoderHop(stream, mel[:, 50:], final=True), other])[0]
    assert snr_db(torch.cat(streamed(vocoder, 3, mel, [120])), torch.cat([first, last])) >= EXACT_DB


def _out_of_memory_in_the_second_batch() -> Callable[..., None]:
    calls = iter(range(1))

    def hook(*_: Any) -> None:
        if next(calls, None) is None:
            raise torch.OutOfMemoryError

    return hook
