"""Draws the next speech token of every row at once, on the device, without the host knowing.

The order is upstream's (`T3.inference_turbo`): temperature, top-k, top-p, and only then the repetition penalty. The
draw itself is the Gumbel-max trick with noise that depends on the row's seed, its step and the token alone, so that a
row draws the same tokens in any batch.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from server.workers.engines.chatterbox.noise import uniform

MAX_TOP_K = 1000
"""Upstream's default: the tokens beyond are never drawn."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How one request's tokens are drawn; the defaults are upstream's. A temperature of 0 takes the likeliest token."""

    seed: int
    temperature: float = 0.8
    top_k: int = MAX_TOP_K
    top_p: float = 0.95
    repetition_penalty: float = 1.2

    def whole(self) -> tuple[int, int]:
        """Its whole numbers, in the order that `SamplingRows.of` takes."""
        return self.seed, min(self.top_k, MAX_TOP_K)

    def real(self) -> tuple[float, float, float]:
        """Its other numbers, likewise."""
        return self.temperature, self.top_p, self.repetition_penalty


@dataclass(frozen=True, slots=True, eq=False)
class SamplingRows:
    """The settings of all rows, on the device: float32 [rows], `seed` and `top_k` int64 [rows]."""

    seed: Tensor
    temperature: Tensor
    top_k: Tensor
    top_p: Tensor
    repetition_penalty: Tensor

    @classmethod
    def of(cls, whole: Tensor, real: Tensor) -> "SamplingRows":
        """Rows with these settings: int64 [rows, 2], float32 [rows, 3]."""
        (seed, top_k), (temperature, top_p, repetition_penalty) = whole.unbind(-1), real.unbind(-1)
        return cls(seed, temperature, top_k, top_p, repetition_penalty)

    @classmethod
    def empty(cls, rows: int, device: torch.device) -> "SamplingRows":
        """Rows that nobody has yet."""
        ones = torch.ones(rows, device=device)
        whole = ones.to(torch.int64)
        return cls(whole.clone(), ones.clone(), whole.clone(), ones.clone(), ones.clone())

    def fields(self) -> tuple[Tensor, ...]:
        """Every tensor, in the order of the constructor's arguments."""
        return self.seed, self.temperature, self.top_k, self.top_p, self.repetition_penalty

    def slice(self, start: int, end: int) -> "SamplingRows":
        """The rows from `start` to `end`, as views."""
        return SamplingRows(*(field[start:end] for field in self.fields()))


def draw(logits: Tensor, rows: SamplingRows, seen: Tensor, step: Tensor) -> Tensor:
    """The next token of each row, int64 [rows].

    `logits` is [rows, tokens] of any float dtype, `seen` bool [rows, tokens] marks what the penalty is for, `step`
    int64 [rows] counts a row's draws.
    """
    greedy = (rows.temperature == 0.0)[:, None]
    logits = logits.float() / torch.where(greedy, 1.0, rows.temperature[:, None])
    scores, tokens = logits.topk(min(MAX_TOP_K, logits.shape[1]))
    rank = torch.arange(scores.shape[1], device=scores.device)
    scores = scores.masked_fill(rank >= rows.top_k[:, None], -torch.inf)
    probability = scores.softmax(-1)
    likelier = probability.cumsum(-1) - probability  # than this token, all together
    scores = scores.masked_fill(likelier >= rows.top_p[:, None], -torch.inf)
    penalty = rows.repetition_penalty[:, None]
    penalised = torch.where(scores < 0, scores * penalty, scores / penalty)
    scores = torch.where(seen.gather(1, tokens), penalised, scores)
    gumbel = -torch.log(-torch.log(uniform(rows.seed[:, None], step[:, None], tokens)))
    best = torch.where(greedy, scores, scores + gumbel).argmax(-1, keepdim=True)
    return tokens.gather(1, best)[:, 0]
