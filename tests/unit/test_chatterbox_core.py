"""The engine without its thread: what is spoken, against upstream's own `generate`, and what becomes of the rows."""

import contextlib
import itertools
import math
import random
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from chatterbox.models.s3gen import flow_matching, hifigan
from torch import Tensor

from server.errors import VoicefleetError
from server.workers.engine import EngineBusy, EngineFailed
from server.workers.engines.chatterbox import core as core_module
from server.workers.engines.chatterbox.conditionals import Conditionals
from server.workers.engines.chatterbox.core import Core, Request
from server.workers.engines.chatterbox.flow import Flow, FlowHop, WindowedFlow
from server.workers.engines.chatterbox.flow_chunked import ChunkedFlow
from server.workers.engines.chatterbox.flow_model import PROMPT_SEED, FlowVoice
from server.workers.engines.chatterbox.noise import normal, uniform
from server.workers.engines.chatterbox.sampler import Sampling
from server.workers.engines.chatterbox.speech_tokens import START_TOKEN
from server.workers.engines.chatterbox.stream import HOPS, Stream
from server.workers.engines.chatterbox.tempo import Tempo
from server.workers.engines.chatterbox.upstream import speaking_so_long, upstream_tts
from server.workers.engines.chatterbox.vocoder import Vocoder
from server.workers.engines.chatterbox.watermark import Watermarker
from tests.support.chatterbox import CPU, EXACT_DB, small_checkpoint, snr_db, voice

FRAME = 480
SPEAKER = voice(1, seconds=1.0)


@dataclass
class Spoken:
    """What came of a request."""

    stream: Stream
    audio: bytes = b""
    endings: list[VoicefleetError | None] = field(default_factory=list)

    @property
    def samples(self) -> Tensor:
        return torch.from_numpy(np.frombuffer(self.audio, "<i2").astype(np.float32) / 32767.0)


class Clock:
    """Time stands still: nothing is ever late, and nothing rests until it is told to pass."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def made_core(
    rows: int = 4,
    flow: WindowedFlow | ChunkedFlow | None = None,
    clock: Clock | None = None,
    watermarker: Watermarker | None = None,
) -> Core:
    checkpoint = small_checkpoint()
    return Core(checkpoint, flow or WindowedFlow(checkpoint.flow), rows, 192, watermarker, clock or Clock())


def say(
    core: Core,
    text: str,
    seed: int = 0,
    tokens: int = 40,
    speed: float = 1.0,
    plan: Sequence[int] = HOPS,
    speaker: Conditionals = SPEAKER,
) -> Spoken:
    spoken = Spoken(Stream.new(0.0, tokens, plan=plan))

    def heard(pcm: bytes) -> None:
        spoken.audio += pcm

    request = Request(small_checkpoint().tokenize(text), speaker, Sampling(seed), speed, heard, spoken.endings.append)
    core.submit(spoken.stream, request)
    return spoken


def run(core: Core, steps: int = 100_000) -> None:
    for _ in range(steps):
        if core.advance() is not None:
            return


@contextlib.contextmanager
def drawing_as_ours(seed: int, frames: int) -> Iterator[None]:
    """Upstream with the noise and the draws of a stream of that seed."""
    key, step = torch.tensor(seed), 0

    def multinomial(probabilities: Tensor, num_samples: int) -> Tensor:
        nonlocal step
        gumbel = -torch.log(-torch.log(uniform(key, step, torch.arange(probabilities.shape[1]))))
        step += 1
        return (probabilities.log() + gumbel).argmax(-1, keepdim=True)

    def noise_like(like: Tensor) -> Tensor:
        bins = torch.arange(80)[:, None]
        if like.shape[1] == 80:
            before = like.shape[2] - frames
            prompt = normal(torch.tensor(PROMPT_SEED), torch.arange(-before, 0), bins)
            return torch.cat([prompt, normal(key, torch.arange(frames), bins)], 1)[None]
        weights = small_checkpoint().vocoder.m_source.l_linear.weight[0][:, None]
        draws = normal(key, -1, torch.arange(frames * FRAME))
        return (weights / weights.norm() * draws)[None] if like.shape[1] == 9 else like

    def phases(*_: object, **__: object) -> Tensor:
        return ((2 * uniform(key, -2, torch.arange(1, 10)) - 1) * math.pi)[None, :, None]

    bins = torch.arange(80)[:, None]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "multinomial", multinomial)
        patch.setattr(torch, "randn", lambda *_, **__: normal(key, torch.arange(frames), bins)[None])
        patch.setattr(flow_matching.torch, "randn_like", noise_like)
        patch.setattr(hifigan.Uniform, "sample", phases)
        yield


def upstream(text: str, seed: int, tokens: int) -> Tensor:
    tts = upstream_tts(small_checkpoint(), SPEAKER)
    drawn: list[Tensor] = []
    infer = tts.s3gen.inference

    def inference(speech_tokens: Tensor, **options: object) -> object:
        drawn.append(speech_tokens)
        with drawing_as_ours(seed, 2 * len(speech_tokens)):
            return infer(speech_tokens, **options)

    tts.s3gen.inference = inference
    with speaking_so_long(tts, tokens), drawing_as_ours(seed, 0):
        audio: Tensor = tts.generate(text)[0]
    assert drawn[0].max() < START_TOKEN
    return audio


@pytest.mark.parametrize("seed", [3, 4])
def test_what_is_spoken_is_what_upstreams_generate_speaks(seed: int) -> None:
    core = made_core()
    others = [say(core, f"Somebody else says number {number}.", seed=50 + number) for number in range(3)]

    spoken = say(
        core, "Hello there, this is a test.", seed=seed, tokens=60, plan=(1000,)
    )  # one go, as upstream does it
    run(core)

    reference = upstream("Hello there, this is a test.", seed, tokens=60)
    start = lag(reference, spoken.samples)
    part = reference[start : start + len(spoken.samples)]
    # The ends are trimmed and faded; what is between was rounded to 16 bits.
    middle = slice(200, -200)
    assert start < 2 * FRAME
    assert len(spoken.samples) > 0.9 * len(reference)
    rounding = snr_db(part[middle], (part[middle] * 32767).to(torch.int16) / 32767.0)
    assert snr_db(part[middle], spoken.samples[middle]) >= min(EXACT_DB, rounding) - 1.0
    assert all(other.endings == [None] for other in others)


def lag(reference: Tensor, samples: Tensor) -> int:
    """Samples that were cut from the start of `reference`."""
    piece = samples[1000:3000]
    windows = reference.unfold(0, len(piece), 1)
    return int((windows - piece).square().sum(1).argmin()) - 1000


def test_one_seed_speaks_the_same_alone_in_company_and_in_another_engine() -> None:
    alone = say(first := made_core(), "The same words.", seed=9, tokens=90)
    run(first)
    second = made_core()
    company = [say(second, f"Company {number}", seed=number, tokens=30 + 20 * number) for number in range(3)]
    among = say(second, "The same words.", seed=9, tokens=90)
    run(second)

    assert alone.endings == among.endings == [None]
    assert len(alone.samples) > 3.0 * 24_000
    assert snr_db(alone.samples, among.samples) > 75.0, "but for the rounding to 16 bits"
    assert all(other.audio and other.audio != alone.audio for other in company)


def test_audio_comes_in_hops_long_before_the_text_is_done() -> None:
    core = made_core()
    spoken = say(core, "A long text.", tokens=120)
    while not spoken.audio:
        core.advance()

    assert spoken.stream.known < 40
    assert not spoken.endings


def test_a_cancelled_stream_gives_its_row_to_the_next_before_another_step() -> None:
    core = made_core(rows=1)
    first, second = say(core, "First.", seed=1), say(core, "Second.", seed=2)
    while not first.stream.joined:
        core.advance()

    core.cancel(first.stream)
    core.advance()

    assert second.stream.joined
    run(core)
    assert first.audio == b""
    assert first.endings == []
    assert second.endings == [None]


def test_no_schedule_of_streams_and_cancels_leaks_a_row_or_a_stream() -> None:
    core, chance = made_core(rows=3), random.Random(1)
    spoken: list[Spoken] = []
    for _ in range(250):
        action = chance.random()
        if action < 0.1:
            spoken.append(say(core, "Words.", seed=len(spoken), tokens=chance.choice([1, 5, 25, 45])))
        elif action < 0.15 and spoken:
            core.cancel(chance.choice(spoken).stream)
        else:
            core.advance()
        assert core.rows_used <= 3
    run(core)

    assert core.streams == core.rows_used == 0
    assert all(len(each.endings) <= 1 for each in spoken)
    again = say(core, "And on it goes.", tokens=20)
    run(core)
    assert again.endings == [None]


class ShortOfMemory(WindowedFlow):
    """A device whose memory holds so many streams in a render."""

    def __init__(self, streams: int) -> None:
        super().__init__(small_checkpoint().flow)
        self.streams = streams
        self.failed: list[weakref.ref[Tensor]] = []

    def render(self, hops: Sequence[FlowHop]) -> list[Tensor]:
        if len(hops) > self.streams:
            made = torch.zeros(1)
            self.failed.append(weakref.ref(made))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().render(hops)


def test_a_batch_that_does_not_fit_is_halved_and_nobody_is_shed() -> None:
    core = made_core(flow=(flow := ShortOfMemory(2)))
    spoken = [say(core, f"Number {number}", seed=number, tokens=40) for number in range(4)]
    run(core)

    undisturbed = say(other := made_core(), "Number 0", seed=0, tokens=40)
    run(other)
    assert [each.endings for each in spoken] == [[None]] * 4
    assert core.totals.shed == core.rows_used == 0
    assert snr_db(undisturbed.samples, spoken[0].samples) > 75.0, "nothing was lost or said twice"
    assert len(flow.failed) == 1, "what fits is remembered"


@pytest.mark.parametrize("part", ["tempo", "vocoder", "watermark"])
def test_wherever_memory_runs_out_in_a_render_nothing_is_lost_or_said_twice(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    marking = Watermarker(CPU)
    undisturbed = say(other := made_core(watermarker=marking), "Number 0", seed=0, tokens=60, speed=1.2)
    run(other)
    kind, method = {"tempo": (Tempo, "__call__"), "vocoder": (Vocoder, "render"), "watermark": (Watermarker, "apply")}[
        part
    ]
    work, calls = getattr(kind, method), itertools.count()

    def short_of_memory(*args: Any) -> Any:
        result = work(*args)  # too late: it has done all that it would do
        if next(calls) == 1:
            raise torch.OutOfMemoryError
        return result

    monkeypatch.setattr(kind, method, short_of_memory)
    core = made_core(watermarker=marking)
    spoken = [say(core, f"Number {number}", seed=number, tokens=60, speed=1.2) for number in range(3)]
    run(core)

    assert [each.endings for each in spoken] == [[None]] * 3
    assert snr_db(undisturbed.samples, spoken[0].samples) > 60.0


def test_the_device_gets_its_memory_back_once_the_failed_tensors_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    flow, alive = ShortOfMemory(1), []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: alive.append(flow.failed[-1]() is not None))
    core = made_core(flow=flow)
    for number in range(2):
        say(core, f"Number {number}", seed=number)
    run(core)

    assert alive == [False]


def test_a_stream_that_has_no_memory_at_all_is_refused_and_the_engine_lives() -> None:
    core = made_core(flow=(flow := ShortOfMemory(0)))
    refused = say(core, "Alone.")
    run(core)
    flow.streams = 1
    spoken = say(core, "Later.")
    run(core)

    assert [type(end) for end in refused.endings] == [EngineBusy]
    assert spoken.endings == [None]


def test_a_stream_of_which_no_numbers_come_fails_alone() -> None:
    """As half precision does where it overflows: CosyVoice#1873."""

    class Overflowing(WindowedFlow):
        def render(self, hops: Sequence[FlowHop]) -> list[Tensor]:
            mels = super().render(hops)
            return [mel * torch.nan if hop.stream.seed == 1 else mel for hop, mel in zip(hops, mels, strict=True)]

    undisturbed = [say(other := made_core(), "The same words.", seed=seed) for seed in (0, 2)]
    run(other)
    core = made_core(flow=Overflowing(small_checkpoint().flow))
    spoken = [say(core, "The same words.", seed=seed) for seed in range(3)]
    run(core)

    assert [[type(end) for end in each.endings] for each in spoken] == [[type(None)], [EngineFailed], [type(None)]]
    assert spoken[1].audio == b""
    assert core.rows_used == core.streams == 0
    assert snr_db(undisturbed[1].samples, spoken[2].samples) > 75.0


@pytest.mark.parametrize(("form", "room", "kept"), [(WindowedFlow, 400_000, 4), (ChunkedFlow, 4_200_000, 2)])
def test_voices_are_kept_by_what_they_take_of_memory(
    form: type[Flow], room: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_module, "_VOICES_BYTES", room)
    read: list[Conditionals] = []

    class Counting(form):  # type: ignore[valid-type, misc] # a parameter
        def voice(self, conditionals: Conditionals) -> FlowVoice:
            read.append(conditionals)
            made: FlowVoice = super().voice(conditionals)
            return made

    core = made_core(flow=Counting(small_checkpoint().flow))
    speakers = [voice(seed, seconds=1.0) for seed in range(5)]
    for speaker in (*speakers, *speakers[-kept:]):
        say(core, "Words.", tokens=5, speaker=speaker)
        run(core)
    assert read == speakers
    say(core, "Words.", tokens=5, speaker=speakers[-kept - 1])
    run(core)
    assert len(read) == 6


@pytest.mark.parametrize("speed", [0.5, 1.5])
def test_speed_changes_the_length_and_not_the_words(speed: float) -> None:
    core = made_core()
    plain, other = say(core, "Words.", tokens=42), say(core, "Words.", tokens=42, speed=speed)
    run(core)

    assert len(other.samples) == pytest.approx(len(plain.samples) / speed, rel=0.03)
    assert plain.stream.known == other.stream.known


def test_a_text_too_long_for_a_row_ends_where_the_row_does() -> None:
    core = made_core(clock=(clock := Clock()))
    spoken = say(core, "Words.", tokens=1000)
    while not spoken.endings:
        run(core)
        clock.now += 1.0

    assert spoken.endings == [None]
    assert spoken.stream.known < 192


def test_a_text_of_more_tokens_than_a_row_holds_is_cut_and_harms_nobody() -> None:
    core = made_core()
    beside = say(core, "Words.", tokens=30)
    spoken = say(core, "\N{GRINNING FACE}" * 2000, tokens=30)
    run(core)

    assert spoken.endings == beside.endings == [None]
    assert spoken.stream.known == 30
