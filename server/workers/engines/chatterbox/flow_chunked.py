"""Speech tokens to mel frames, each computed once: attention sees the past alone, whose keys and values are kept.

A block of tokens, the voice's prompt first and then each hop, sees itself and all blocks before it. That costs a
fraction of computing a window again, and what is given out is what one pass over the whole with that mask gives. The
weights were trained with full attention, so it is behind a setting until it is heard to be as good.

What is kept of a stream is 12 MB a second of speech in half precision, 24 in float32, nearly all of it the estimator's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from server.workers.engines.chatterbox.conditionals import Conditionals
from server.workers.engines.chatterbox.flow import Flow, FlowStream, alike
from server.workers.engines.chatterbox.flow_layers import FRAMES_PER_TOKEN, Memories, Memory, key_mask
from server.workers.engines.chatterbox.flow_model import LOOKAHEAD, PROMPT_SEED, FlowVoice, Row
from server.workers.engines.chatterbox.graphs import Record
from server.workers.engines.chatterbox.transfer import sent


class Recollection:
    """The context of one pass over a batch of blocks: what its rows keep, filled up at the left to one length."""

    def __init__(self, memories: Sequence[Memory], lengths: Sequence[int], weight: Tensor) -> None:
        self._memories, self._lengths = memories, lengths
        self._seen: list[Tensor] = []
        self._tails: list[Tensor] = []
        kept = [memory.kept for memory in memories]
        self.kept = max(kept)
        self._ends, real_kept = sent(torch.tensor([lengths, kept]), weight.device)
        self.mask: Tensor | None = None
        if min(kept) < self.kept or min(lengths) < max(lengths):
            self.mask = key_mask(self._ends, self.kept, max(lengths), weight.dtype, real_kept)
        if self.kept:
            visits, _, channels = memories[0].attention[0].shape
            self._attention = weight.new_empty(visits, len(memories), self.kept + max(lengths), channels)
            for row, memory in enumerate(memories):
                first = self.kept - memory.kept
                self._attention[:, row, :first].zero_()
                torch.cat(memory.attention, dim=1, out=self._attention[:, row, first : self.kept])

    def extended(self, x: Tensor, count: int) -> Tensor:
        """`x` [rows, time, channels] with what is kept of the `count` positions before, zeros at the beginning."""
        visit = len(self._tails)
        if self.kept:
            before = torch.stack([memory.convolutions[visit] for memory in self._memories])
        else:
            before = x.new_zeros(len(x), count, x.shape[2])
        x = torch.cat([before, x], dim=1)
        last = self._ends[:, None, None] + torch.arange(count, device=x.device)[:, None]
        self._tails.append(x.take_along_dim(last, dim=1))
        return x

    def keys_values(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Those of all positions kept, then the block's: beside them, where there was room left for it."""
        visit = len(self._seen)
        if not self.kept:
            self._seen.append(torch.cat([keys, values], dim=-1))
            return keys, values
        self._seen.append(torch.cat([keys, values], dim=-1, out=self._attention[visit, :, self.kept :]))
        keys, values = self._attention[visit].chunk(2, dim=-1)
        return keys, values

    def memories(self) -> list[Memory]:
        """What the rows keep with this block, once the pass is over."""
        seen = self._attention[:, :, self.kept :] if self.kept else torch.stack(self._seen)
        return [
            Memory((*memory.attention, seen[:, row, :length].clone()), tuple(tail[row] for tail in self._tails))
            for row, (memory, length) in enumerate(zip(self._memories, self._lengths, strict=True))
        ]


class ChunkedFlow(Flow):
    """Attention to the past alone, and nothing computed twice."""

    def capture(self, record: Record) -> None:
        """It has none: what is kept before a block is of any length."""

    @torch.inference_mode()
    def voice(self, conditionals: Conditionals) -> FlowVoice:
        """The voice of these conditionals, its prompt computed but for the tokens that look ahead into the text."""
        voice = super().voice(conditionals)
        tokens = voice.prompt_tokens
        length = len(tokens) - LOOKAHEAD
        known = voice.prompt_mel[: FRAMES_PER_TOKEN * length]
        _, (memories,) = self._computed(
            [Row(voice, PROMPT_SEED, -LOOKAHEAD, tokens, length, prompt=0, first=-len(tokens), known=known)]
        )
        return replace(voice, memories=memories)

    def open(self, voice: FlowVoice, seed: int) -> FlowStream:
        """A stream without tokens. One seed, below 2^63, gives one sound."""
        return FlowStream(voice, seed, -LOOKAHEAD, voice.memories)

    def _row(self, stream: FlowStream, tokens: Sequence[int], ready: int) -> Row:
        length = ready - stream.done
        tokens = [*stream.voice.prompt_tokens[-LOOKAHEAD:], *tokens][LOOKAHEAD + stream.done :]
        prompt = stream.voice.prompt_mel
        known = prompt[len(prompt) + min(FRAMES_PER_TOKEN * stream.done, 0) :][: FRAMES_PER_TOKEN * length]
        return Row(stream.voice, stream.seed, ready, tokens, length, 0, stream.done, known, stream.memories)

    def _batches(self, rows: Mapping[int, Row]) -> list[list[int]]:
        """Alike in what is new, which is computed, and in what is kept, which is copied."""
        return [
            batch
            for new in super()._batches(rows)
            for batch in alike({index: rows[index].memories.tokens.kept for index in new})
        ]

    def _computed(self, rows: Sequence[Row]) -> tuple[Tensor, Sequence[Memories]]:
        tokens = Recollection([row.memories.tokens for row in rows], [row.length for row in rows], self._model.weight)
        frames = Recollection([row.memories.frames for row in rows], [row.frames for row in rows], self._model.weight)
        inputs = self._model.inputs(rows, max(row.length for row in rows))
        mel = self._model.forward(inputs, tokens, frames)
        return mel, [Memories(*both) for both in zip(tokens.memories(), frames.memories(), strict=True)]
