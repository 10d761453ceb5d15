"""The host puts work on the device and never waits for it: all that is done while calls are spoken."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from server.workers.engines.chatterbox.checkpoint import SMALL, Checkpoint, Precision, random_checkpoint
from server.workers.engines.chatterbox.flow import Flow, FlowHop, WindowedFlow
from server.workers.engines.chatterbox.flow_chunked import ChunkedFlow
from server.workers.engines.chatterbox.sampler import Sampling
from server.workers.engines.chatterbox.t3 import T3Decoder
from server.workers.engines.chatterbox.tempo import Tempo
from server.workers.engines.chatterbox.transfer import sent
from server.workers.engines.chatterbox.vocoder import Vocoder, VocoderHop
from server.workers.engines.chatterbox.watermark import Watermarker
from tests.support.chatterbox import voice
from tests.support.no_waits import DEVICE, no_waits


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return random_checkpoint(SMALL, DEVICE, Precision(torch.float16, torch.float16))


def test_rows_join_step_move_and_swap(checkpoint: Checkpoint) -> None:
    decoder = T3Decoder(checkpoint.t3, rows=4, positions=128)
    with no_waits():
        prefix = decoder.prefix(voice(1))
        for row in range(3):
            decoder.join(row, prefix, [1, 2, 3], Sampling(seed=row), drawn=[4, 5] * row)
        decoder.step(2)
        decoder.swap(0, 1)
        decoder.step(3)
        decoder.move(1, 0)


@pytest.mark.parametrize("form", [WindowedFlow, ChunkedFlow])
def test_the_flow_renders_hops_of_unlike_lengths_and_voices(checkpoint: Checkpoint, form: type[Flow]) -> None:
    flow = form(checkpoint.flow)
    with no_waits():
        voices = [flow.voice(voice(1, 1.0)), flow.voice(voice(2, 2.0))]
        streams = [flow.open(each, seed) for seed, each in enumerate([*voices, voices[0]])]
        for final in (False, True):
            mels = flow.render([FlowHop(stream, [1] * (20 + seed), final) for seed, stream in enumerate(streams)])
            assert [mel.device for mel in mels] == [DEVICE] * 3


def test_the_vocoder_renders_windows_of_unlike_lengths(checkpoint: Checkpoint) -> None:
    vocoder = Vocoder(checkpoint.vocoder)
    streams = [vocoder.open(seed) for seed in range(3)]
    mels = [torch.empty(80, 40 + 4 * seed, device=DEVICE) for seed in range(3)]
    with no_waits():
        for final in (False, True):
            vocoder.render([VocoderHop(stream, mel, final) for stream, mel in zip(streams, mels, strict=True)])


def test_another_pace(checkpoint: Checkpoint) -> None:
    tempo, mel = Tempo(1.2), torch.empty(80, 100, device=DEVICE)
    with no_waits():
        tempo(mel)
        tempo(mel)


def test_the_watermark() -> None:
    watermarker = Watermarker(DEVICE)
    with no_waits():
        states = [watermarker.start() for _ in range(2)]
        for _ in range(2):
            watermarker.apply(states, [torch.empty(samples, device=DEVICE) for samples in (7200, 24_000)])


@pytest.mark.parametrize(
    "waiting",
    [
        lambda there: torch.tensor([1, 2], device=DEVICE),
        lambda there: torch.zeros(2).to(DEVICE),
        lambda there: torch.zeros(2).to(DEVICE, non_blocking=True),
        lambda there: there.copy_(torch.zeros(2)),
        lambda there: there.tolist(),
        lambda there: float(there.sum()),
        lambda there: there[there > 0],
        lambda there: there.cpu(),
    ],
)
def test_whoever_waits_is_found(waiting: Callable[[Tensor], object]) -> None:
    there = torch.zeros(2, device=DEVICE)
    for inference in (False, True):
        with no_waits(), torch.inference_mode(inference), pytest.raises((AssertionError, RuntimeError)):
            waiting(there)


def test_what_is_sent_as_it_should_be_is_not() -> None:
    with no_waits():
        assert sent(torch.zeros(2, 3)[0], DEVICE).shape == (3,)
