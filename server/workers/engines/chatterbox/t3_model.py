"""The decoder's forward passes: GPT-2 over a static cache of keys and values, and the draw that follows.

They read and change `RowStates` and nothing else, wait for nothing, and do the same for any contents of one shape, so
that they can be captured. Rows and positions may be more than are needed: what is computed of padding is hidden from
every row, and written over when the row gets there.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from chatterbox.models.t3 import T3
from torch import Tensor
from torch.nn import functional as F

from server.workers.engines.chatterbox.conditionals import MAX_SPEECH_TOKENS, Conditionals
from server.workers.engines.chatterbox.sampler import Sampling, SamplingRows, draw
from server.workers.engines.chatterbox.speech_tokens import START_TOKEN
from server.workers.engines.chatterbox.transfer import sent

MAX_PREFIX = 1 + MAX_SPEECH_TOKENS
"""Positions of the longest voice: the speaker, and what the clip says."""

_NUMBERS = 6  # of a text, after its tokens: see `T3Model.text`

Draw = Callable[[Tensor, SamplingRows, Tensor, Tensor], Tensor]
"""`sampler.draw`, or what is compiled of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """A voice as the decoder has read it: keys and values [layers, 2, heads, positions, 64]."""

    cache: Tensor

    @property
    def positions(self) -> int:
        """Positions that it takes of a row."""
        return self.cache.shape[3]


@dataclass(frozen=True, slots=True, eq=False)
class RowStates:
    """All that rows are at, on the device; int64 [rows] where nothing else is said."""

    cache: Tensor
    """Keys and values [layers, 2, rows, heads, positions, 64]."""
    token: Tensor
    """That was drawn last."""
    position: Tensor
    """Its place in the row."""
    step: Tensor
    """How many were drawn."""
    seen: Tensor
    """bool [rows, tokens]: which were."""
    sampling: SamplingRows
    number: Tensor
    """Of each row: 0, 1, 2 …"""

    def fields(self) -> tuple[Tensor, ...]:
        """All that a request has but for its keys and values."""
        return self.token, self.position, self.step, self.seen, *self.sampling.fields()


class T3Model:
    """`t3` stays on its device, in its dtype."""

    def __init__(self, t3: T3, draw: Draw = draw) -> None:
        self._t3 = t3
        self._blocks: Sequence[Any] = t3.tfmr.h
        self._heads: int = t3.cfg.n_head
        self._draw = draw
        self._weight: Tensor = t3.speech_head.weight
        self._overflows = self._weight.dtype == torch.float16
        self.device = self._weight.device

    def row_states(self, rows: int, positions: int) -> RowStates:
        """Rows that nobody has yet."""
        token = torch.zeros(rows, dtype=torch.int64, device=self.device)
        seen = torch.zeros(rows, len(self._weight), dtype=torch.bool, device=self.device)
        return RowStates(
            cache=self._cache(rows, positions),
            token=token,
            position=token.clone(),
            step=token.clone(),
            seen=seen,
            sampling=SamplingRows.empty(rows, self.device),
            number=torch.arange(rows, device=self.device),
        )

    @torch.inference_mode()
    def prefix(self, voice: Conditionals) -> Prefix:
        """Read a voice: the speaker and up to 375 speech tokens of the clip."""
        t3 = self._t3
        speaker = sent(voice.speaker_embedding, self.device).to(self._weight.dtype)
        heard = t3.speech_emb(sent(voice.prompt_speech_tokens, self.device))
        inputs = torch.cat([t3.cond_enc.spkr_enc(speaker[None]), heard])[None]
        position = torch.arange(inputs.shape[1], device=self.device)[None]
        cache = self._cache(1, inputs.shape[1])
        self._forward(inputs, cache, torch.zeros_like(position[:, :1]), slice(1), position, inputs.shape[1])
        return Prefix(cache[:, :, 0])

    def text(
        self, row: int, start: int, text: Sequence[int], sampling: Sampling, drawn: Sequence[int], tokens: int
    ) -> tuple[Tensor, Tensor]:
        """What `read` reads, on the device: int64 [tokens + 6], float32 [3].

        `start` is where in `row` the text begins, `drawn` what was drawn for it elsewhere; `tokens`, to which both and
        the start mark are filled up, has to be enough.
        """
        ids = [*text, START_TOKEN, *drawn]
        filling = [0] * (tokens - len(ids))
        whole = [*ids, *filling, len(text), len(ids), start, row, *sampling.whole()]
        return sent(torch.tensor(whole), self.device), sent(torch.tensor(sampling.real()), self.device)

    def read(self, states: RowStates, whole: Tensor, real: Tensor) -> None:
        """Read a text (see `text`) into its row, behind the voice that is there already, and draw the next token."""
        t3 = self._t3
        ids, words, count, start, row, *chosen = torch.split(whole, [len(whole) - _NUMBERS, *[1] * _NUMBERS])
        sampling = SamplingRows.of(torch.cat(chosen)[None], real[None])
        place = torch.arange(len(ids), device=self.device)
        is_text = place < words
        inputs = torch.where(is_text[:, None], t3.text_emb(ids * is_text), t3.speech_emb(ids * ~is_text))
        reach = min(states.cache.shape[4], MAX_PREFIX + len(ids))
        x = self._forward(inputs[None], states.cache, row[None], row, (start + place)[None], reach)
        step = count - words - 1
        # Upstream's penalty sees the start mark in the first draw, when it is the last of the ids, and never again.
        drawn = (place > words) & (place < count)
        seen = torch.zeros_like(states.seen[:1]).scatter_(1, torch.where(drawn, ids, ids[count - 1])[None], True)
        token = self._draw(self._logits(x[0, count - 1]), sampling, seen, step)
        seen[:, START_TOKEN] &= step > 0
        seen.scatter_(1, token[:, None], True)
        made = (token, start + count, step + 1, seen, *sampling.fields())
        for state, value in zip(states.fields(), made, strict=True):
            state.index_copy_(0, row, value)

    def step(self, states: RowStates, running: Tensor, rows: int, reach: int) -> None:
        """Draw the next token of the first `rows` rows, of which only the first `running`, an int64, advance.

        `reach` is how far the longest of them is at most, and one more.
        """
        number, position, token = states.number[:rows], states.position[:rows], states.token[:rows]
        inputs = self._t3.speech_emb(token)[:, None]
        x = self._forward(inputs, states.cache, number[:, None], slice(rows), position[:, None], reach)
        seen, step = states.seen[:rows], states.step[:rows]
        drawn = self._draw(self._logits(x[:, 0]), states.sampling.slice(0, rows), seen, step)
        runs = number < running
        token.copy_(torch.where(runs, drawn, token))
        seen.scatter_(1, token[:, None], True)
        position += runs
        step += runs

    def _cache(self, rows: int, positions: int) -> Tensor:
        shape = (len(self._blocks), 2, rows, self._heads, positions, self._t3.dim // self._heads)
        return torch.zeros(shape, device=self.device, dtype=self._weight.dtype)

    def _logits(self, x: Tensor) -> Tensor:
        logits: Tensor = self._t3.speech_head(self._t3.tfmr.ln_f(x))
        return logits

    def _forward(
        self, inputs: Tensor, cache: Tensor, row: Tensor, rows: Tensor | slice, position: Tensor, reach: int
    ) -> Tensor:
        """What `inputs` [rows, n, width] become behind all blocks; their keys and values go to `cache`.

        They are at `position` [rows, n] of these rows of the cache: `row` int64 [rows, 1], and `rows`, the same as a
        slice where no copy of their keys and values is to be made. Each sees `reach` positions, up to its own.
        """
        x: Tensor = inputs + self._t3.tfmr.wpe(position)
        hidden = torch.arange(reach, device=self.device) > position[..., None]
        # Of bool, attention would make this in each layer.
        mask = x.new_zeros(hidden.shape).masked_fill_(hidden, -math.inf)[:, None]
        for block, memory in zip(self._blocks, cache, strict=True):
            projected = block.attn.c_attn(block.ln_1(x)).view(*position.shape, 3, self._heads, -1)
            if self._overflows:  # what is no number would outlive its request: a mask hides it from nobody
                projected = projected.nan_to_num()
            memory[:, row, :, position] = projected[:, :, 1:]
            keys, values = memory[:, rows, :, :reach]
            heard = F.scaled_dot_product_attention(projected[:, :, 0].transpose(1, 2), keys, values, attn_mask=mask)
            x = x + block.attn.c_proj(heard.transpose(1, 2).reshape(x.shape))
            x = x + block.mlp.c_proj(F.gelu(block.mlp.c_fc(block.ln_2(x)), approximate="tanh"))
        return x
