"""Text to speech tokens: the T3 decoder (GPT-2) over a static cache of keys and values, all rows one step at a time.

A row is a request. It joins by having its text read (prefill) after its voice's prefix, which was read once for all;
then each step draws one token for each of the first rows. Nothing here waits for the device: tokens stay on it, and
whoever wants them copies them. On CUDA a step is one graph, captured for each number of rows and reach of the cache.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from chatterbox.models.t3 import T3
from torch import Tensor
from torch.nn import functional as F

from server.workers.engines.chatterbox.conditionals import Conditionals
from server.workers.engines.chatterbox.graphs import Record, Work
from server.workers.engines.chatterbox.sampler import Sampling, SamplingRows, draw
from server.workers.engines.chatterbox.speech_tokens import START_TOKEN
from server.workers.engines.chatterbox.transfer import sent

_ROW_STEPS = (1, 2, 4, 8, 16, 24, 32, 48, 64)
_ROW_STEP_BEYOND = 32
_REACH_STEP = 256


def row_bytes(t3: T3, positions: int) -> int:
    """Device memory that a row of so many positions takes."""
    return int(2 * len(t3.tfmr.h) * positions * t3.dim * t3.speech_head.weight.element_size())


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """A voice as the decoder has read it: keys and values [layers, 2, heads, positions, 64]."""

    cache: Tensor

    @property
    def positions(self) -> int:
        """Positions that it takes of a row."""
        return self.cache.shape[3]


class T3Decoder:
    """The decoder's rows. `token`, int64 [rows] on the device, is what each drew last.

    It implements `rows.RowMemory`; which stream has which row is for others to know.
    """

    def __init__(self, t3: T3, rows: int, positions: int) -> None:
        """Room for `rows` requests of `positions` positions each: voice, text and speech together."""
        self._t3 = t3
        self._blocks: Sequence[Any] = t3.tfmr.h
        self._heads: int = t3.cfg.n_head
        head_size = t3.dim // self._heads
        weight = t3.speech_head.weight
        self.device = weight.device
        self.rows = rows
        self.positions = positions
        self._cache = torch.zeros(
            len(self._blocks), 2, rows, self._heads, positions, head_size, device=self.device, dtype=weight.dtype
        )
        self.token = torch.zeros(rows, dtype=torch.int64, device=self.device)
        self._position = torch.zeros_like(self.token)  # of the token that was drawn last
        self._step = torch.zeros_like(self.token)
        self._seen = torch.zeros(rows, weight.shape[0], dtype=torch.bool, device=self.device)
        self._sampling = SamplingRows.empty(rows, self.device)
        self._row = torch.arange(rows, device=self.device)
        self._running = torch.zeros((), dtype=torch.int64, device=self.device)
        self._reached = [0] * rows  # the host's own count of `_position`
        self._graphs: dict[tuple[int, int], Work] = {}

    @torch.inference_mode()
    def prefix(self, voice: Conditionals) -> Prefix:
        """Read a voice: the speaker and up to 375 speech tokens of the clip."""
        t3 = self._t3
        speaker = sent(voice.speaker_embedding, self.device).to(t3.speech_head.weight.dtype)
        heard = t3.speech_emb(sent(voice.prompt_speech_tokens, self.device))
        inputs = torch.cat([t3.cond_enc.spkr_enc(speaker[None]), heard])
        cache = self._cache.new_zeros(*self._cache.shape[:2], self._heads, len(inputs), self._cache.shape[-1])
        self._read(inputs, cache, 0)
        return Prefix(cache)

    @torch.inference_mode()
    def join(
        self, row: int, prefix: Prefix, text: Sequence[int], sampling: Sampling, drawn: Sequence[int] = ()
    ) -> None:
        """Read `text`, and what was `drawn` for it elsewhere, into `row`, and draw the next token.

        `prefix.positions + len(text) + 1 + len(drawn)` have to fit.
        """
        t3 = self._t3
        cache = self._cache[:, :, row]
        cache[:, :, :, : prefix.positions] = prefix.cache
        words = sent(torch.tensor(text, dtype=torch.int64), self.device)
        speech = sent(torch.tensor([START_TOKEN, *drawn]), self.device)
        inputs = torch.cat([t3.text_emb(words), t3.speech_emb(speech)])
        hidden = self._read(inputs, cache, prefix.positions)
        self._sampling.set(row, sampling)
        seen = self._seen[row : row + 1].zero_()
        step = self._step[row : row + 1].fill_(len(drawn))
        # Upstream's penalty sees the start mark in the first draw, and never again.
        seen.index_fill_(1, speech[1:] if drawn else speech, True)
        token = draw(t3.speech_head(hidden), self._sampling.slice(row, row + 1), seen, step)
        seen[:, START_TOKEN] = False
        seen.scatter_(1, token[:, None], True)
        step += 1
        self.token[row : row + 1] = token
        self._reached[row] = prefix.positions + len(inputs)
        self._position[row] = self._reached[row]

    @torch.inference_mode()
    def step(self, running: int) -> None:
        """Draw the next token of each of the first `running` rows."""
        reach = max(self._reached[:running]) + 1
        self._running.fill_(running)
        size = (self._row_bucket(running), self._reach_bucket(reach))
        self._graphs.get(size, partial(self._step_rows, *size))()
        for row in range(running):
            self._reached[row] += 1

    def room(self, row: int) -> int:
        """Tokens that may still be drawn in `row`, which computes along, at its last position, while it is parked."""
        return self.positions - 1 - self._reached[row]

    @torch.inference_mode()
    def move(self, source: int, target: int) -> None:
        """See `rows.RowMemory`."""
        self._reached[target] = reach = self._reached[source]
        self._cache[:, :, target, :, :reach] = self._cache[:, :, source, :, :reach]
        for state in self._states():
            state[target] = state[source]

    @torch.inference_mode()
    def swap(self, one: int, other: int) -> None:
        """See `rows.RowMemory`."""
        reached = self._reached
        reach = max(reached[one], reached[other])
        reached[one], reached[other] = reached[other], reached[one]
        for state in (self._cache[..., :reach, :].movedim(2, 0), *self._states()):
            kept = state[one].clone()
            state[one] = state[other]
            state[other] = kept

    @torch.inference_mode()
    def capture(self, record: Record) -> None:
        """Capture the graphs of all steps that may come."""
        self._running.fill_(0)  # nobody advances
        for running in range(self.rows, 0, -1):
            for reach in range(self.positions, 0, -_REACH_STEP):
                size = (self._row_bucket(running), self._reach_bucket(reach))
                if size not in self._graphs:
                    self._graphs[size] = record(partial(self._step_rows, *size))

    def _row_bucket(self, running: int) -> int:
        small = next((size for size in _ROW_STEPS if size >= running), 0)
        return min(self.rows, small or -(-running // _ROW_STEP_BEYOND) * _ROW_STEP_BEYOND)

    def _reach_bucket(self, reach: int) -> int:
        return min(self.positions, -(-reach // _REACH_STEP) * _REACH_STEP)

    def _states(self) -> tuple[Tensor, ...]:
        return self.token, self._position, self._step, self._seen, *self._sampling.fields()

    def _step_rows(self, rows: int, reach: int) -> Sequence[Tensor]:
        """A step of the first `rows` rows, of which only the running ones advance. Fixed shapes, fixed addresses.

        All that it makes is in the rows' states: it gives nothing.
        """
        t3 = self._t3
        row, position, token = self._row[:rows], self._position[:rows], self.token[:rows]
        visible = torch.arange(reach, device=self.device) <= position[:, None]
        x = t3.speech_emb(token) + t3.tfmr.wpe(position)
        mask = torch.where(visible, 0.0, -math.inf).to(x.dtype)[
            :, None, None
        ]  # of bool, attention makes this in each layer
        for block, (keys, values) in zip(self._blocks, self._cache[:, :, :rows], strict=True):
            query, key, value = self._projected(block, x)
            keys[row, :, position] = key
            values[row, :, position] = value
            heard = F.scaled_dot_product_attention(
                query[:, :, None], keys[:, :, :reach], values[:, :, :reach], attn_mask=mask
            )
            x = _attended(block, x, heard.reshape(x.shape))
        logits = t3.speech_head(t3.tfmr.ln_f(x))
        drawn = draw(logits, self._sampling.slice(0, rows), self._seen[:rows], self._step[:rows])
        runs = row < self._running
        token.copy_(torch.where(runs, drawn, token))
        self._seen[:rows].scatter_(1, token[:, None], True)
        position += runs
        self._step[:rows] += runs
        return ()

    def _read(self, inputs: Tensor, cache: Tensor, start: int) -> Tensor:
        """Prefill: `inputs` [n, width] from position `start` on, into `cache` [layers, 2, heads, ≥ start + n, 64].

        Gives what the last position became, [1, width].
        """
        end = start + len(inputs)
        position = torch.arange(start, end, device=self.device)
        visible = torch.arange(end, device=self.device) <= position[:, None]
        x = inputs + self._t3.tfmr.wpe(position)
        for block, (keys, values) in zip(self._blocks, cache, strict=True):
            query, key, value = (part.transpose(0, 1) for part in self._projected(block, x))
            keys[:, start:end] = key
            values[:, start:end] = value
            heard = F.scaled_dot_product_attention(
                query[None], keys[None, :, :end], values[None, :, :end], attn_mask=visible
            )
            x = _attended(block, x, heard[0].transpose(0, 1).reshape(x.shape))
        last: Tensor = self._t3.tfmr.ln_f(x[-1:])
        return last

    def _projected(self, block: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [n, heads, 64] of `x` [n, width]."""
        projected = block.attn.c_attn(block.ln_1(x)).view(len(x), 3, self._heads, -1)
        query, key, value = projected.unbind(1)
        return query, key, value


def _attended(block: Any, x: Tensor, heard: Tensor) -> Tensor:
    """The rest of a GPT-2 block, after attention has `heard`."""
    x = x + block.attn.c_proj(heard)
    widened = F.gelu(block.mlp.c_fc(block.ln_2(x)), approximate="tanh")
    return torch.add(x, block.mlp.c_proj(widened))
