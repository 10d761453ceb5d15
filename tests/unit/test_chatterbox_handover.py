"""A text that one worker began and another goes on with: one rendition, whatever the other would have drawn itself."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from server.errors import VoicefleetError
from server.workers.engine import UnusableProgress
from server.workers.engines.chatterbox.checkpoint import SMALL, Checkpoint, Precision, random_checkpoint
from server.workers.engines.chatterbox.core import Core, Request
from server.workers.engines.chatterbox.flow import WindowedFlow
from server.workers.engines.chatterbox.sampler import Sampling
from server.workers.engines.chatterbox.speech_tokens import STOP_TOKEN
from server.workers.engines.chatterbox.stream import Stream
from server.workers.engines.chatterbox.t3 import T3Decoder
from tests.support.chatterbox import CPU, small_checkpoint, snr_db, voice

SPEAKER = voice(1, seconds=1.0)
TOKENS = 110
RATE = 24_000


@cache
def checkpoint(dtype: torch.dtype) -> Checkpoint:
    return random_checkpoint(SMALL, CPU, Precision(dtype, torch.float32))


@dataclass
class Worker:
    """A device of its own. It draws a little differently from others if its temperature is another."""

    dtype: torch.dtype
    temperature: float = 0.8
    rows: int = 8

    def __post_init__(self) -> None:
        made = checkpoint(self.dtype)
        self.core = Core(made, WindowedFlow(made.flow), self.rows, 256, None, clock=lambda: 0.0)

    def say(self, seed: int = 9, draws: Sequence[int] = (), heard: int = 0, tokens: int = TOKENS) -> "Spoken":
        spoken = Spoken(Stream.new(0.0, tokens))
        spoken.stream.go_on(draws, heard / RATE)
        sampling = Sampling(seed, temperature=self.temperature)
        text = small_checkpoint().tokenize("The same words.")
        self.core.submit(
            spoken.stream, Request(text, SPEAKER, sampling, 1.0, spoken.chunks.append, spoken.endings.append)
        )
        return spoken

    def finish(self) -> None:
        while self.core.streams:
            rest = self.core.advance()
            assert rest is None or not self.core.streams, "nothing rests while time stands still"


@dataclass
class Spoken:
    stream: Stream
    chunks: list[bytes] = field(default_factory=list)
    endings: list[VoicefleetError | None] = field(default_factory=list)

    @property
    def samples(self) -> Tensor:
        return torch.from_numpy(np.frombuffer(b"".join(self.chunks), "<i2").astype(np.float32) / 32767.0)


def same(one: Tensor, other: Tensor) -> bool:
    """But for the rounding to 16 bits and the frame of 5 ms in which silence ends."""
    shorter = min(len(one), len(other))
    return abs(len(one) - len(other)) <= 120 and snr_db(one[:shorter], other[:shorter]) > 60.0


@pytest.mark.parametrize("hops", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_what_was_heard_and_the_rest_are_one_rendition(dtype: torch.dtype, hops: int) -> None:
    lost = Worker(dtype)
    begun = lost.say()
    for beside in range(5):
        lost.say(seed=100 + beside)
    while len(begun.chunks) < hops:
        lost.core.advance()
    heard, draws = begun.samples, list(begun.stream.draws)

    other = Worker(dtype, temperature=1.1)  # which would draw something else
    alone, rest = other.say(), other.say(draws=draws, heard=len(heard))
    other.finish()
    assert rest.endings == [None]
    assert rest.stream.draws[: len(draws)] == draws != alone.stream.draws[: len(draws)]

    one = Worker(dtype, rows=1)
    whole = one.say(draws=rest.stream.draws)
    one.finish()
    spliced = torch.cat([heard, rest.samples[len(heard) :]])
    assert same(spliced, whole.samples), "it is what one worker says that drew the same"
    assert same(heard, whole.samples[: len(heard)]), "and what was heard is its beginning"
    assert not same(spliced, alone.samples), "which the text alone does not give"


@pytest.mark.parametrize("known", [1, 25, 59])
def test_what_was_drawn_is_gone_on_from_as_if_it_had_been_drawn_here(known: int) -> None:
    decoder = T3Decoder(small_checkpoint().t3, rows=3, positions=256)
    prefix, sampling = decoder.prefix(SPEAKER), Sampling(seed=4)

    def drawn(row: int, count: int) -> list[int]:
        tokens = [int(decoder.token[row])]
        while len(tokens) < count:
            decoder.step(row + 1)
            tokens.append(int(decoder.token[row]))
        return tokens

    decoder.join(0, prefix, [5, 6, 7], sampling)
    tokens = drawn(0, 60)
    for row in range(2):
        decoder.join(row, prefix, [8, 9], Sampling(seed=row))
    decoder.join(2, prefix, [5, 6, 7], sampling, tokens[:known])
    assert drawn(2, 60 - known) == tokens[known:]


def test_a_text_that_was_drawn_to_its_end_is_only_rendered() -> None:
    worker = Worker(torch.float32)
    draws = [*range(100, 140), STOP_TOKEN]
    spoken = worker.say(draws=draws)
    worker.finish()
    assert spoken.endings == [None]
    assert spoken.stream.draws == draws
    assert worker.core.rows_used == 0


def test_what_is_made_again_is_not_waited_for_as_if_it_were_heard_again() -> None:
    stream = Stream.new(0.0, 200)
    stream.go_on(range(100), repeated=5.0)
    due = stream.due
    assert not stream.heard(4.0, now=0.1)
    assert (stream.due, stream.started) == (due, False)
    assert not stream.heard(2.0, now=0.2)
    assert stream.due == pytest.approx(1.2)
    assert stream.started
    assert Stream.new(0.0, 9).after(9, pause=0.2).repeated == 0.0


def test_more_than_a_row_holds_is_an_error_that_says_so_and_harms_nobody() -> None:
    worker = Worker(torch.float32)
    too_much, beside = worker.say(draws=[7] * 250, tokens=1000), worker.say()
    worker.finish()
    assert [type(ending) for ending in too_much.endings] == [UnusableProgress]
    assert beside.endings == [None]
