"""Speech tokens to mel frames, for many streams at once: the default form, which recomputes a window in every hop.

Its attention is full, as it was when the weights were trained: a frame sees the voice's prompt and all of the window,
so that each hop computes the window again, from the same noise. `flow_chunked` does not.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from chatterbox.models.s3gen.flow import CausalMaskedDiffWithXvec
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from server.workers.engines.chatterbox.conditionals import Conditionals
from server.workers.engines.chatterbox.flow_layers import (
    EULER_STEPS,
    FRAMES_PER_TOKEN,
    Beginning,
    Context,
    Estimator,
    Memory,
    encode,
    key_mask,
)
from server.workers.engines.chatterbox.noise import normal
from server.workers.engines.chatterbox.transfer import sent

MEL_BINS = 80

LOOKAHEAD = 3
"""Tokens that must follow one before its frames are made: upstream's `pre_lookahead_len`."""

PROMPT_SEED = -1
"""Of the noise before a stream's first frame: one for all, so that what is computed of a prompt can be shared."""

WINDOW_TOKENS = 250
"""10 s: as much of its own past as the longest prompt holds of the voice. A hop costs no more however long the text."""


Memories = tuple[Memory, Memory]
"""At the rate of the tokens, and of the frames. Only the chunked form keeps any."""


@dataclass(frozen=True, slots=True)
class FlowVoice:
    """A voice, ready for the flow."""

    prompt_tokens: Sequence[int]
    prompt_mel: Tensor
    """float32 [2 * tokens, 80], on the device."""
    speaker: Tensor
    """[80], on the device, in the dtype of the weights."""
    memories: Memories = (Memory(), Memory())
    """Of the prompt, if the form keeps any: held once, for all streams."""


@dataclass(slots=True)
class FlowStream:
    """One text being spoken."""

    voice: FlowVoice
    seed: int
    done: int = 0
    """Tokens that need not be computed any more; below 0, so many at the end of the prompt still do."""
    memories: Memories = (Memory(), Memory())
    tokens: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class FlowHop:
    """The next tokens of a stream; `final` if no more follow. Ids are below 6561."""

    stream: FlowStream
    tokens: Sequence[int]
    final: bool


@dataclass(frozen=True, slots=True)
class Row:
    """A block of one stream to compute."""

    voice: FlowVoice
    seed: int
    ready: int
    """Tokens of the stream that are done with the block."""
    tokens: Sequence[int]
    """The block's, then those that are only looked ahead to."""
    frames: Tensor
    """int64 [frames], on the host: each frame's place in the stream. Those of the prompt, which come first, are < 0."""
    known: Tensor
    """float32 [at most frames, 80]: mel of the prompt's frames."""
    memories: Memories = (Memory(), Memory())
    """What is kept of all before the block."""

    @property
    def length(self) -> int:
        """Tokens in the block."""
        return len(self.frames) // FRAMES_PER_TOKEN


class FlowModel:
    """The forward pass that both forms share. `module` stays on its device, in its dtype."""

    def __init__(self, module: CausalMaskedDiffWithXvec) -> None:
        self._module = module
        self._estimator = Estimator(module.decoder.estimator)
        self.weight: Tensor = module.encoder_proj.weight

    @torch.inference_mode()
    def voice(self, conditionals: Conditionals) -> FlowVoice:
        """The voice of these conditionals."""
        xvector = F.normalize(self._sent(conditionals.xvector), dim=0).to(self.weight.dtype)
        speaker = self._module.spk_embed_affine_layer(xvector)
        return FlowVoice(conditionals.prompt_tokens.tolist(), self._sent(conditionals.prompt_mel), speaker)

    def mel(self, rows: Sequence[Row], tokens: Context, frames: Context) -> Tensor:
        """float32 [rows, frames, 80] of the rows' blocks, padded at the right."""
        longest = max(row.length for row in rows)
        ids = pad_sequence([torch.tensor(row.tokens, dtype=torch.int64) for row in rows], batch_first=True)
        ids = F.pad(ids, (0, longest + LOOKAHEAD - ids.shape[1]))
        given = torch.tensor([len(row.tokens) for row in rows])
        real = torch.arange(ids.shape[1])[:, None] < given[:, None, None]
        features = encode(
            self._module.encoder, self._module.input_embedding(self._sent(ids)), self._sent(real), tokens, frames
        )
        features = self._module.encoder_proj(features)
        known = pad_sequence([row.known for row in rows], batch_first=True).to(features.dtype)
        known = F.pad(known, (0, 0, 0, features.shape[1] - known.shape[1]))
        speakers = torch.stack([row.voice.speaker for row in rows])[:, None].expand_as(features)
        x = self._noise(rows)
        for step in range(EULER_STEPS):
            velocity = self._estimator(torch.cat([x.to(features.dtype), features, speakers, known], -1), step, frames)
            x = x + velocity.float() / EULER_STEPS
        return x

    def _noise(self, rows: Sequence[Row]) -> Tensor:
        """float32 [rows, frames, 80]."""
        frames = self._sent(pad_sequence([row.frames for row in rows], batch_first=True))
        seeds = self._sent(torch.tensor([row.seed for row in rows]))[:, None]
        seeds = torch.where(frames < 0, PROMPT_SEED, seeds)
        return normal(seeds[..., None], frames[..., None], torch.arange(MEL_BINS, device=frames.device))

    def _sent(self, tensor: Tensor) -> Tensor:
        return sent(tensor, self.weight.device)


class Flow(ABC):
    """Either form. Streams of all voices are computed together, and none sounds different for it."""

    def __init__(self, module: CausalMaskedDiffWithXvec) -> None:
        self._model = FlowModel(module)

    def voice(self, conditionals: Conditionals) -> FlowVoice:
        """The voice of these conditionals, for any number of streams."""
        return self._model.voice(conditionals)

    def open(self, voice: FlowVoice, seed: int) -> FlowStream:
        """A stream without tokens. One seed, below 2^63, gives one sound."""
        return FlowStream(voice, seed)

    @torch.inference_mode()
    def render(self, hops: Sequence[FlowHop]) -> list[Tensor]:
        """Each hop's new frames, float32 [80, frames] on the device; a stream has at most one hop among them.

        The last three tokens so far have no frames yet, unless the hop is final. If it raises, no stream has changed.
        """
        rows: dict[int, Row] = {}
        for index, hop in enumerate(hops):
            tokens = [*hop.stream.tokens, *hop.tokens]
            ready = len(tokens) - (0 if hop.final else LOOKAHEAD)
            if ready > hop.stream.done:
                rows[index] = self._row(hop.stream, tokens, ready)
        mels = [self._model.weight.new_empty(MEL_BINS, 0, dtype=torch.float32)] * len(hops)
        memories: dict[int, Memories] = {}
        for batch in self._batches(rows):
            computed, kept = self._computed([rows[index] for index in batch])
            memories.update(zip(batch, kept, strict=True))
            for index, mel in zip(batch, computed, strict=True):
                row = rows[index]
                fresh = FRAMES_PER_TOKEN * (max(row.ready, 0) - max(hops[index].stream.done, 0))
                mels[index] = mel[len(row.frames) - fresh : len(row.frames)].T
        for index, hop in enumerate(hops):
            hop.stream.tokens = [*hop.stream.tokens, *hop.tokens]
            if index in rows:
                hop.stream.done, hop.stream.memories = rows[index].ready, memories[index]
        return mels

    def _batches(self, rows: Mapping[int, Row]) -> list[list[int]]:
        return alike({index: row.length for index, row in rows.items()})

    @abstractmethod
    def _row(self, stream: FlowStream, tokens: Sequence[int], ready: int) -> Row:
        """What to compute to be done with the first `ready` of the stream's `tokens`."""

    @abstractmethod
    def _computed(self, rows: Sequence[Row]) -> tuple[Tensor, Sequence[Memories]]:
        """float32 [rows, frames, 80], and what is kept when they were computed."""


class WindowedFlow(Flow):
    """Full attention over the prompt and the last tokens of the stream, again in every hop."""

    def __init__(self, module: CausalMaskedDiffWithXvec, window_tokens: int = WINDOW_TOKENS) -> None:
        super().__init__(module)
        self._window_tokens = window_tokens

    def _row(self, stream: FlowStream, tokens: Sequence[int], ready: int) -> Row:
        first = min(max(ready - self._window_tokens, 0), stream.done)
        prompt = torch.arange(-len(stream.voice.prompt_mel), 0)
        window = torch.arange(FRAMES_PER_TOKEN * first, FRAMES_PER_TOKEN * ready)
        tokens = [*stream.voice.prompt_tokens, *tokens[first:]]
        frames = torch.cat([prompt, window])
        return Row(stream.voice, stream.seed, ready, tokens, frames, stream.voice.prompt_mel)

    def _computed(self, rows: Sequence[Row]) -> tuple[Tensor, Sequence[Memories]]:
        tokens, frames = (
            Beginning(key_mask([0] * len(rows), [rate * row.length for row in rows], self._model.weight))
            for rate in (1, FRAMES_PER_TOKEN)
        )
        return self._model.mel(rows, tokens, frames), [row.memories for row in rows]


def alike(sizes: Mapping[int, int]) -> list[list[int]]:
    """The keys in batches: a size is at least three quarters of the largest of its batch."""
    batches: list[list[int]] = []
    for key in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if batches and sizes[key] >= 0.75 * sizes[batches[-1][0]]:
            batches[-1].append(key)
        else:
            batches.append([key])
    return batches
