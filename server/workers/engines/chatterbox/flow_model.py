"""The flow's forward pass: speech tokens and a voice to mel frames, for a batch of blocks.

`inputs` gathers on the host what a batch needs and sends it in one copy; `forward` is pure, makes masks and noise where
it computes, and does the same for any contents of one shape. Rows and times may be more than a batch needs: what is
computed of padding is in nobody's way.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from chatterbox.models.s3gen.flow import CausalMaskedDiffWithXvec
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from server.workers.engines.chatterbox.compiling import EAGER, Compiler
from server.workers.engines.chatterbox.conditionals import Conditionals
from server.workers.engines.chatterbox.flow_layers import (
    EULER_STEPS,
    FRAMES_PER_TOKEN,
    NOTHING_KEPT,
    Beginning,
    Context,
    Encoder,
    Estimator,
    Memories,
    key_mask,
)
from server.workers.engines.chatterbox.noise import normal
from server.workers.engines.chatterbox.transfer import sent

MEL_BINS = 80

LOOKAHEAD = 3
"""Tokens that must follow one before its frames are made: upstream's `pre_lookahead_len`."""

PROMPT_SEED = -1
"""Of the noise before a stream's first frame: one for all, so that what is computed of a prompt can be shared."""

_NUMBERS = 5  # of a row, after its tokens: see `Row.numbers`


@dataclass(frozen=True, slots=True)
class FlowVoice:
    """A voice, ready for the flow."""

    prompt_tokens: Sequence[int]
    prompt_mel: Tensor
    """float32 [2 * tokens, 80], on the device."""
    speaker: Tensor
    """[80], on the device, in the dtype of the weights."""
    memories: Memories = NOTHING_KEPT
    """Of the prompt, if the form keeps any: held once, for all streams."""

    @property
    def nbytes(self) -> int:
        """Of the device's memory."""
        kept = (self.memories.tokens, self.memories.frames)
        return sum(
            tensor.nbytes
            for tensor in (self.prompt_mel, *(each for part in kept for each in (*part.attention, *part.convolutions)))
        )


@dataclass(frozen=True, slots=True)
class Row:
    """A block of one stream to compute."""

    voice: FlowVoice
    seed: int
    ready: int
    """Tokens of the stream that are done with the block."""
    tokens: Sequence[int]
    """The block's, then those that are only looked ahead to."""
    length: int
    """Tokens in the block."""
    prompt: int
    """How many of them, at its start, are the end of the voice's prompt."""
    first: int
    """The place in the stream of the first one after those; below 0 if that is still the prompt's."""
    known: Tensor
    """float32 [at most frames, 80]: mel of the prompt's frames, with which the block begins."""
    memories: Memories = NOTHING_KEPT
    """What is kept of all before the block."""

    @property
    def frames(self) -> int:
        """Mel frames in the block."""
        return FRAMES_PER_TOKEN * self.length

    def numbers(self, tokens: int) -> list[int]:
        """Its tokens, filled up to so many and the lookahead, and then all else that is a number."""
        filling = [0] * (tokens + LOOKAHEAD - len(self.tokens))
        return [*self.tokens, *filling, len(self.tokens), self.length, self.prompt, self.first, self.seed]


@dataclass(frozen=True, slots=True)
class Inputs:
    """Of a batch of rows, on the device."""

    numbers: Tensor
    """int64 [rows, tokens + 8]: see `Row.numbers`."""
    known: Tensor
    """[rows, frames, 80], 0 where nothing is known."""
    speakers: Tensor
    """[rows, 80]."""

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """All of them, in the order of the constructor's arguments."""
        return self.numbers, self.known, self.speakers

    @property
    def tokens(self) -> int:
        """Tokens of the longest block that has room."""
        return self.numbers.shape[1] - LOOKAHEAD - _NUMBERS

    @property
    def lengths(self) -> Tensor:
        """int64 [rows]: tokens in each block."""
        return self.numbers[:, -4]


class FlowModel:
    """The forward pass that both forms share. `module` stays on its device, in its dtype."""

    def __init__(self, module: CausalMaskedDiffWithXvec, compiler: Compiler = EAGER) -> None:
        self._module = module
        self._encoder = Encoder(module.encoder)
        self._estimator = Estimator(module.decoder.estimator, compiler)
        self._noise = compiler(noise)
        self.weight: Tensor = module.encoder_proj.weight

    @torch.inference_mode()
    def voice(self, conditionals: Conditionals) -> FlowVoice:
        """The voice of these conditionals."""
        xvector = F.normalize(sent(conditionals.xvector, self.weight.device), dim=0).to(self.weight.dtype)
        speaker = self._module.spk_embed_affine_layer(xvector)
        mel = sent(conditionals.prompt_mel, self.weight.device)
        return FlowVoice(conditionals.prompt_tokens.tolist(), mel, speaker)

    def blank(self, tokens: int) -> Row:
        """A row of so many tokens of no voice: as good as any other to find out what is done for it."""
        voice = FlowVoice([], self.weight.new_zeros(0, MEL_BINS), self.weight.new_zeros(MEL_BINS))
        return Row(voice, 0, tokens, [0] * (tokens + LOOKAHEAD), tokens, 0, 0, voice.prompt_mel)

    def inputs(self, rows: Sequence[Row], tokens: int) -> Inputs:
        """Of these rows, the longest of which has at most so many `tokens`."""
        numbers = sent(torch.tensor([row.numbers(tokens) for row in rows]), self.weight.device)
        known = pad_sequence([row.known for row in rows], batch_first=True).to(self.weight.dtype)
        known = F.pad(known, (0, 0, 0, FRAMES_PER_TOKEN * tokens - known.shape[1]))
        return Inputs(numbers, known, torch.stack([row.voice.speaker for row in rows]))

    def windows(self, inputs: Inputs, padded: bool) -> Tensor:
        """`forward` for blocks with nothing before them; `padded` unless all are of the inputs' full length."""
        tokens, frames = (
            Beginning(key_mask(rate * inputs.lengths, 0, rate * inputs.tokens, self.weight.dtype) if padded else None)
            for rate in (1, FRAMES_PER_TOKEN)
        )
        return self.forward(inputs, tokens, frames)

    def forward(self, inputs: Inputs, tokens: Context, frames: Context) -> Tensor:
        """float32 [rows, frames, 80] of the rows' blocks, padded at the right."""
        ids = inputs.numbers[:, :-_NUMBERS]
        given, _, prompt, first, seeds = inputs.numbers[:, -_NUMBERS:, None].unbind(1)
        real = (torch.arange(ids.shape[1], device=ids.device) < given)[..., None]
        features = self._encoder(self._module.input_embedding(ids), real, tokens, frames)
        features = self._module.encoder_proj(features)
        speakers = inputs.speakers[:, None].expand_as(features)
        place = torch.arange(features.shape[1], device=seeds.device)
        x = self._noise(place, prompt, first, seeds)
        for step in range(EULER_STEPS):
            state = torch.cat([x.to(features.dtype), features, speakers, inputs.known], -1)
            x = x + self._estimator(state, step, frames).float() / EULER_STEPS
        return x


def noise(frame: Tensor, prompt: Tensor, first: Tensor, seeds: Tensor) -> Tensor:
    """float32 [rows, frames, 80] of the numbers of the frames, int64 [frames]; the others are int64 [rows, 1].

    Each frame's noise depends on its place in the stream.
    """
    place = frame - FRAMES_PER_TOKEN * prompt  # those of the prompt are below 0
    place = place + torch.where(place >= 0, FRAMES_PER_TOKEN * first, 0)
    seeds = torch.where(place < 0, PROMPT_SEED, seeds)
    return normal(seeds[..., None], place[..., None], torch.arange(MEL_BINS, device=seeds.device))
