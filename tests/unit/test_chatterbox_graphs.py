"""Flow and vocoder as they are captured on a GPU, without one: pure, the same for any contents, changing no sound."""

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters

from server.workers.engines.chatterbox import flow as flow_module
from server.workers.engines.chatterbox.checkpoint import Checkpoint
from server.workers.engines.chatterbox.flow import FlowHop, WindowedFlow
from server.workers.engines.chatterbox.flow_model import LOOKAHEAD, FlowModel, Inputs, Row
from server.workers.engines.chatterbox.graphs import Graphs, ShapeNotCaptured
from server.workers.engines.chatterbox.vocoder import Vocoder, VocoderHop
from tests.support.chatterbox import EXACT_DB, small_checkpoint, snr_db, speech_tokens, voice
from tests.support.graphs import PADDING_DB, Operations, Recorder


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return small_checkpoint()


@pytest.fixture(scope="module")
def model(checkpoint: Checkpoint) -> FlowModel:
    return FlowModel(checkpoint.flow)


@pytest.fixture
def captured(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> tuple[WindowedFlow, Recorder]:
    """A flow with graphs for up to four rows of up to 96 tokens."""
    monkeypatch.setattr(flow_module, "_TOKENS_CAPTURED", range(32, 97, 32))
    flow, recorder = WindowedFlow(checkpoint.flow), Recorder()
    flow.capture(recorder)
    return flow, recorder


def window(model: FlowModel, seed: int, seconds: float) -> Row:
    speaker = model.voice(voice(seed, 1.0))
    tokens = speech_tokens(seed, seconds).tolist()
    prompt = speaker.prompt_tokens
    return Row(
        speaker,
        seed,
        len(tokens) - LOOKAHEAD,
        [*prompt, *tokens],
        len(prompt) + len(tokens) - LOOKAHEAD,
        len(prompt),
        0,
        speaker.prompt_mel,
    )


@torch.inference_mode()
def test_a_window_is_one_graph_for_any_contents(model: FlowModel) -> None:
    counters.clear()
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda *inputs: model.windows(Inputs(*inputs), padded=True), fullgraph=True, backend="eager", dynamic=False
    )
    for rows in ([window(model, 1, 1.0), window(model, 2, 0.5)], [window(model, 3, 0.2), window(model, 4, 1.2)]):
        inputs = model.inputs(rows, 64)
        assert snr_db(model.windows(inputs, padded=True), compiled(*inputs.tensors())) >= PADDING_DB
    assert counters["stats"]["unique_graphs"] == 1


@torch.inference_mode()
def test_for_one_shape_the_same_is_done_whatever_is_in_it(model: FlowModel) -> None:
    done = []
    for rows in ([window(model, 1, 1.0), window(model, 2, 0.5)], [model.blank(64)] * 2):
        inputs = model.inputs(rows, 64)
        with Operations() as operations:
            model.windows(inputs, padded=True)
        done.append(operations.done)
    assert done[0] == done[1]
    assert len(done[0]) > 500


@torch.inference_mode()
def test_padding_changes_nothing(model: FlowModel) -> None:
    row = window(model, 1, 1.0)
    exact = model.windows(model.inputs([row], row.length), padded=False)
    filled = model.windows(model.inputs([row, *[model.blank(96)] * 3], 96), padded=True)
    assert snr_db(exact[0], filled[0, : row.frames]) >= PADDING_DB


def test_what_is_replayed_sounds_as_what_is_not(
    checkpoint: Checkpoint, captured: tuple[WindowedFlow, Recorder]
) -> None:
    replaying, recorder = captured
    mels = [spoken(flow) for flow in (WindowedFlow(checkpoint.flow), replaying)]
    assert recorder.replays == 3
    for plain, replayed in zip(*mels, strict=True):
        assert snr_db(plain, replayed) >= PADDING_DB


def spoken(flow: WindowedFlow) -> list[Tensor]:
    """Three hops of three streams of two voices."""
    voices = [flow.voice(voice(1, 1.0)), flow.voice(voice(2, 1.2))]
    streams = [flow.open(voices[seed % 2], seed) for seed in range(3)]
    hops = [
        flow.render([FlowHop(each, speech_tokens(hop, 0.6).tolist(), hop == 2) for each in streams]) for hop in range(3)
    ]
    return [torch.cat(parts, dim=1) for parts in zip(*hops, strict=True)]


def test_what_is_larger_than_any_graph_is_computed_as_ever(
    checkpoint: Checkpoint, captured: tuple[WindowedFlow, Recorder]
) -> None:
    replaying, recorder = captured
    tokens = speech_tokens(1, 4.0).tolist()
    long, other = (
        flow.render([FlowHop(flow.open(flow.voice(voice(1, 1.0)), 1), tokens, final=True)])[0]
        for flow in (replaying, WindowedFlow(checkpoint.flow))
    )
    assert torch.equal(long, other)
    assert recorder.replays == 0


@torch.inference_mode()
def test_the_vocoder_is_one_graph_for_any_contents(checkpoint: Checkpoint) -> None:
    counters.clear()
    torch._dynamo.reset()
    vocoder = Vocoder(checkpoint.vocoder)
    compiled = torch.compile(vocoder.forward, fullgraph=True, backend="eager", dynamic=False)
    for seed in (1, 2):
        inputs = mel_window(seed)
        for plain, traced in zip(vocoder.forward(*inputs), compiled(*inputs), strict=True):
            assert snr_db(plain, traced) >= PADDING_DB
    assert counters["stats"]["unique_graphs"] == 1


@torch.inference_mode()
def test_for_windows_of_one_shape_the_same_is_done_whatever_is_in_them(checkpoint: Checkpoint) -> None:
    vocoder, done = Vocoder(checkpoint.vocoder), []
    for inputs in (mel_window(1), [torch.zeros_like(each) for each in mel_window(1)]):
        with Operations() as operations:
            vocoder.forward(*inputs)
        done.append(operations.done)
    assert done[0] == done[1]
    assert len(done[0]) > 500


def mel_window(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.tensor([[seed, 100 * seed, 110 * seed], [seed + 1, 0, 0]])
    return [torch.randn(2, 80, 64, generator=generator), numbers, torch.rand(2, generator=generator).double()]


def test_what_the_vocoder_replays_sounds_as_what_it_does_not(checkpoint: Checkpoint) -> None:
    replaying, recorder = Vocoder(checkpoint.vocoder), Recorder()
    replaying.capture(recorder)
    audio = [voiced(vocoder) for vocoder in (Vocoder(checkpoint.vocoder), replaying)]
    assert recorder.replays == 4, "of five hops, the last is of no captured length"
    for plain, replayed in zip(*audio, strict=True):
        assert snr_db(plain, replayed) >= EXACT_DB, "a longer window has other sums"


def voiced(vocoder: Vocoder) -> list[Tensor]:
    """Five hops of three streams, as long as those of speech are."""
    streams = [vocoder.open(seed) for seed in range(3)]
    mels = [torch.randn(80, 500, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    hops = []
    for start, end in ((0, 32), (32, 82), (82, 182), (182, 282), (282, 500)):
        parts = [VocoderHop(stream, mel[:, start:end], end == 500) for stream, mel in zip(streams, mels, strict=True)]
        hops.append(vocoder.render(parts))
    return [torch.cat(parts) for parts in zip(*hops, strict=True)]


def test_a_shape_that_should_have_been_captured_and_was_not_fails_aloud() -> None:
    graphs = Graphs(lambda x: [x + 1], Recorder())
    graphs.capture((1, 32), [torch.zeros(1)])

    assert graphs.replay((1, 32), [torch.ones(1)])[0] == 2
    with pytest.raises(ShapeNotCaptured, match=r"\(2, 32\); there are \(1, 32\)"):
        graphs.replay((2, 32), [torch.ones(1)])


def test_what_was_replayed_stays_what_it_was() -> None:
    graphs = Graphs(lambda x: [x + 1], Recorder())
    graphs.capture("one", [torch.zeros(1)])
    (first,), (second,) = (graphs.replay("one", [torch.full((1,), float(value))]) for value in (1, 5))

    assert [float(first), float(second)] == [2.0, 6.0]
