"""The decoder's tokens against upstream's `inference_turbo`, one request at a time, given the same draws."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from chatterbox.models.t3.modules.cond_enc import T3Cond
from torch import Tensor

from server.workers.engines.chatterbox.checkpoint import SMALL, Checkpoint
from server.workers.engines.chatterbox.conditionals import Conditionals
from server.workers.engines.chatterbox.noise import uniform
from server.workers.engines.chatterbox.rows import Rows
from server.workers.engines.chatterbox.sampler import Sampling
from server.workers.engines.chatterbox.t3 import T3Decoder
from tests.support.chatterbox import full_checkpoint, small_checkpoint, voice

SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"temperature": 0.6, "top_k": 50, "top_p": 0.9, "repetition_penalty": 1.3},
    {"temperature": 1.0, "top_p": 1.0, "repetition_penalty": 1.0},
    {"temperature": 1.3, "top_k": 5},
    {"temperature": 0.0},
)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return small_checkpoint()


@pytest.fixture(scope="module")
def voices() -> list[Conditionals]:
    return [voice(seed=1, seconds=2.0), voice(seed=2, seconds=1.2)]


@dataclass(eq=False)
class Request:
    voice: int
    text: list[int]
    sampling: Sampling
    length: int
    joins_at: int = 0
    cancelled_at: int | None = None
    tokens: list[int] = field(default_factory=list)


def made(count: int, seed: int) -> list[Request]:
    """Requests that join and are cancelled at random."""
    chance = random.Random(seed)
    return [
        Request(
            voice=chance.randrange(2),
            text=[chance.randrange(SMALL.text_vocabulary) for _ in range(chance.randint(1, 40))],
            sampling=Sampling(seed=chance.randrange(2**62), **SETTINGS[number % len(SETTINGS)]),
            length=chance.randint(1, 30),
            joins_at=chance.randint(0, 25),
            cancelled_at=chance.randint(0, 40) if number % 5 == 0 else None,
        )
        for number in range(count)
    ]


@contextmanager
def drawing(sampling: Sampling) -> Iterator[None]:
    """Upstream draws as the engine does: by its own probabilities, with the request's noise."""
    step = 0

    def multinomial(probabilities: Tensor, num_samples: int) -> Tensor:
        nonlocal step
        place = torch.arange(probabilities.shape[1])
        gumbel = -torch.log(-torch.log(uniform(torch.tensor(sampling.seed), step, place)))
        step += 1
        return (probabilities.log() + (gumbel if sampling.temperature else 0.0)).argmax(-1, keepdim=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "multinomial", multinomial)
        yield


def upstream(checkpoint: Checkpoint, voice: Conditionals, request: Request) -> list[int]:
    condition = T3Cond(
        speaker_emb=voice.speaker_embedding[None], cond_prompt_speech_tokens=voice.prompt_speech_tokens[None]
    )
    with drawing(request.sampling):
        tokens = checkpoint.t3.inference_turbo(
            condition,
            torch.tensor([request.text]),
            temperature=request.sampling.temperature,
            top_k=request.sampling.top_k,
            top_p=request.sampling.top_p,
            repetition_penalty=request.sampling.repetition_penalty,
            max_gen_len=request.length - 1,
        )
    return [int(token) for token in tokens[0]]


def decoded(checkpoint: Checkpoint, voices: list[Conditionals], requests: list[Request], resting: float = 0.0) -> None:
    """Decode all, at most six at once; in each step some rest at random."""
    chance = random.Random(5)
    decoder = T3Decoder(checkpoint.t3, rows=6, positions=128)
    prefixes = [decoder.prefix(each) for each in voices]
    rows: Rows[Request] = Rows(6, decoder)
    waiting = sorted(requests, key=lambda request: request.joins_at)
    now = 0
    while waiting or rows.used:
        for request in requests:
            if request in rows and now == request.cancelled_at:
                rows.leave(request)
        while waiting and waiting[0].joins_at <= now and rows.used < rows.size:
            request = waiting.pop(0)
            row = rows.join(request)
            decoder.join(row, prefixes[request.voice], request.text, request.sampling)
            request.tokens.append(int(decoder.token[row]))
        for request in requests:
            if request in rows and len(request.tokens) == request.length:
                rows.leave(request)
        drawing = {request for request in rows.owners if chance.random() >= resting}
        if drawing:
            rows.bring_forward(drawing)
            decoder.step(len(drawing))
            for request, token in zip(rows.owners[: len(drawing)], decoder.token.tolist(), strict=False):
                request.tokens.append(token)
        now += 1


def test_every_request_draws_upstreams_tokens_whoever_joins_leaves_or_is_cancelled_beside_it(
    checkpoint: Checkpoint, voices: list[Conditionals]
) -> None:
    requests = made(20, seed=3)

    decoded(checkpoint, voices, requests)

    assert {len(request.tokens) == request.length for request in requests} == {True, False}, "some were cancelled"
    for request in requests:
        expected = upstream(checkpoint, voices[request.voice], request)
        assert request.tokens == expected[: len(request.tokens)]
        if request.cancelled_at is None:
            assert len(request.tokens) == request.length


def test_a_request_that_rested_goes_on_where_it_stopped(checkpoint: Checkpoint, voices: list[Conditionals]) -> None:
    at_once, with_rests = made(12, seed=4), made(12, seed=4)

    decoded(checkpoint, voices, at_once)
    decoded(checkpoint, voices, with_rests, resting=0.3)

    for one, other in zip(at_once, with_rests, strict=True):
        shorter = min(len(one.tokens), len(other.tokens))  # a cancelled one got as far as it did
        assert one.tokens[:shorter] == other.tokens[:shorter]
        assert shorter == one.length or one.cancelled_at is not None


def test_two_decoders_with_one_seed_agree_and_another_seed_says_something_else(
    checkpoint: Checkpoint, voices: list[Conditionals]
) -> None:
    def tokens(seed: int) -> list[int]:
        request = Request(0, [5, 6, 7], Sampling(seed=seed), length=20)
        decoded(checkpoint, voices, [request])
        return request.tokens

    assert tokens(1) == tokens(1)
    assert tokens(1) != tokens(2)


def test_a_row_says_how_much_room_is_left(checkpoint: Checkpoint, voices: list[Conditionals]) -> None:
    decoder = T3Decoder(checkpoint.t3, rows=1, positions=64)
    prefix = decoder.prefix(voices[0])
    decoder.join(0, prefix, [1, 2, 3], Sampling(seed=0))

    before = decoder.room(0)
    decoder.step(1)

    assert before == 64 - prefix.positions - 3 - 1 - 1
    assert decoder.room(0) == before - 1


def test_the_first_tokens_are_upstreams_at_full_size(voices: list[Conditionals]) -> None:
    checkpoint = full_checkpoint()
    requests = [
        Request(number % 2, [40 * number + 9] * (3 + 5 * number), Sampling(seed=number), length=6, joins_at=number)
        for number in range(3)
    ]

    decoded(checkpoint, voices, requests)

    for request in requests:
        assert request.tokens == upstream(checkpoint, voices[request.voice], request)
