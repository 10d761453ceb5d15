"""The flow's encoder and estimator as one forward pass over upstream's modules.

Written once for both forms of the flow: what lies left of the block to compute is a `Context`, either nothing
(`Beginning`, for whole windows) or what was kept of the blocks before. It knows nothing of streams, noise or hops.

Tensors are [rows, time, channels], rows padded at the right. All convolutions look left, but for the first of the
pre-lookahead, whose input is zeroed past the end of its row: so padding reaches a real position through attention
alone, where it is masked.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from chatterbox.models.s3gen.decoder import ConditionalDecoder
from chatterbox.models.s3gen.transformer.upsample_encoder import UpsampleConformerEncoder
from torch import Tensor, nn
from torch.nn import functional as F

from server.workers.engines.chatterbox.compiling import Compiler
from server.workers.engines.chatterbox.convolution import Convolution

FRAMES_PER_TOKEN = 2
"""Mel frames at 50 Hz that the encoder makes of a speech token at 25 Hz."""

EULER_STEPS = 2
"""What the distilled weights were made for: from noise at time 0 over 0.5 to mel at 1."""


class Context(Protocol):
    """What lies left of the block that a pass computes, at the rate of the tokens or of the frames."""

    @property
    def kept(self) -> int:
        """Positions before the block that its attention sees."""

    @property
    def mask(self) -> Tensor | None:
        """[rows, 1, 1, kept + time], 0 at real keys and -inf at padding; None where all keys are real."""

    def extended(self, x: Tensor, count: int) -> Tensor:
        """`x` with the `count` positions that came before it: what a causal convolution reads."""

    def keys_values(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Those of the block after those of all `kept` positions, [rows, kept + time, channels] each."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What is kept of the blocks before at one rate, in the order in which a pass asks for it."""

    attention: tuple[Tensor, ...] = ()
    """Of each block, [layers, positions, keys and values]."""
    convolutions: tuple[Tensor, ...] = ()
    """Of each causal convolution, the last positions of its input."""

    @property
    def kept(self) -> int:
        """Positions before."""
        return sum(block.shape[1] for block in self.attention)


@dataclass(frozen=True, slots=True)
class Beginning:
    """The context of a block with which its rows begin."""

    mask: Tensor | None
    kept: int = 0

    def extended(self, x: Tensor, count: int) -> Tensor:
        """Zeros come before the first position."""
        return F.pad(x, (0, 0, count, 0))

    def keys_values(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """The block's own."""
        return keys, values


@dataclass(frozen=True, slots=True)
class Memories:
    """What is kept of the blocks before at either rate."""

    tokens: Memory = Memory()
    frames: Memory = Memory()


NOTHING_KEPT = Memories()


def key_mask(lengths: Tensor, before: int, after: int, dtype: torch.dtype, kept: Tensor | None = None) -> Tensor:
    """[rows, 1, 1, before + after], 0 at real keys and -inf at padding. Made where `lengths` lie.

    `lengths`, int64 [rows], says how many of the `after` new positions are real, from the left; `kept` how many of the
    `before` others, from the right.
    """
    place = torch.arange(-before, after, device=lengths.device)
    real = place < lengths[:, None]
    if kept is not None:
        real = real & (place >= -kept[:, None])
    return torch.where(real, 0.0, -math.inf).to(dtype)[:, None, None]


class Encoder:
    """The encoder, its convolutions prepared."""

    def __init__(self, module: UpsampleConformerEncoder) -> None:
        self._module = module
        self._ahead = Convolution(module.pre_lookahead_layer.conv1)
        self._lookahead = Convolution(module.pre_lookahead_layer.conv2)
        self._upsampled = Convolution(module.up_layer.conv)

    def __call__(self, x: Tensor, real: Tensor, tokens: Context, frames: Context) -> Tensor:
        """Features [rows, 2 * time, channels] of embedded tokens [rows, time + lookahead, channels].

        `real` is bool [rows, time + lookahead, 1]: false past the end of a row, of its lookahead if it has one.
        """
        x = _embedded(self._module.embed, x) * real  # a bias has made something of the padding
        ahead = F.leaky_relu(self._ahead(x))
        x = x[:, : ahead.shape[1]] + _causal(self._lookahead, ahead, tokens)
        positions = _relative_positions(tokens.kept, x)
        for layer in self._module.encoders:
            x = _encoder_layer(layer, x, positions, tokens)
        x = _causal(self._upsampled, x.repeat_interleave(FRAMES_PER_TOKEN, dim=1), frames)
        x = _embedded(self._module.up_embed, x)
        positions = _relative_positions(frames.kept, x)
        for layer in self._module.up_encoders:
            x = _encoder_layer(layer, x, positions, frames)
        features: Tensor = self._module.after_norm(x)
        return features


class Estimator:
    """The flow's velocity at the times of the Euler steps, which are all it is ever asked for."""

    def __init__(self, module: ConditionalDecoder, compiler: Compiler) -> None:
        pieces = _Pieces(compiler(normed_sum), compiler(activated))
        ((down, down_blocks, downsampling),) = module.down_blocks
        ((up, up_blocks, upsampling),) = module.up_blocks
        self._module = module
        self._resnets = [down, *(resnet for resnet, _ in module.mid_blocks), up]
        self._down = _Stage(down, down_blocks, pieces)
        self._middle = [_Stage(resnet, transformers, pieces) for resnet, transformers in module.mid_blocks]
        self._up = _Stage(up, up_blocks, pieces)
        self._downsampling, self._upsampling = Convolution(downsampling), Convolution(upsampling)
        self._final = _ResidualHalf(module.final_block, pieces)
        self._projection = Convolution(module.final_proj)
        with torch.inference_mode():
            self._biases = [self._time_biases(step) for step in range(EULER_STEPS)]

    def _time_biases(self, step: int) -> list[Tensor]:
        """What the times of a step add in each residual block: constants of the weights."""
        weight = self._module.final_proj.weight
        times = torch.tensor([step, step + 1], dtype=torch.float32, device=weight.device) / EULER_STEPS
        embedded = self._module.time_mlp(self._module.time_embeddings(times).to(weight.dtype))
        mixed = self._module.time_embed_mixer(embedded.flatten())
        return [resnet.mlp(mixed) for resnet in self._resnets]

    def __call__(self, x: Tensor, step: int, context: Context) -> Tensor:
        """The velocity [rows, time, mel bins] for `x`, which is state, features, speaker and condition in one."""
        first, *biases, last = self._biases[step]
        x = skipped = self._down(x, first, context)
        x = _causal(self._downsampling, x, context)
        for stage, bias in zip(self._middle, biases, strict=True):
            x = stage(x, bias, context)
        x = self._up(torch.cat([x, skipped], dim=-1), last, context)
        x = _causal(self._upsampling, x, context)
        return self._projection(self._final(x, context))


def normed_sum(x: Tensor, change: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Their sum, and that normed over its channels."""
    x = x + change
    return x, F.layer_norm(x, weight.shape, weight, bias)


def activated(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Normed over its channels, and activated."""
    return F.mish(F.layer_norm(x, weight.shape, weight, bias))


@dataclass(frozen=True, slots=True)
class _Pieces:
    """What of the estimator may be compiled."""

    normed_sum: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
    activated: Callable[[Tensor, Tensor, Tensor], Tensor]


class _ResidualHalf:
    """A causal convolution, its norm and activation."""

    def __init__(self, module: Any, pieces: _Pieces) -> None:
        convolution, _, self._norm, _, _ = module.block  # the others transpose, and activate
        self._convolution = Convolution(convolution)
        self._activated = pieces.activated

    def __call__(self, x: Tensor, context: Context) -> Tensor:
        return self._activated(_causal(self._convolution, x, context), self._norm.weight, self._norm.bias)


class _Stage:
    """A residual block and the transformer blocks after it."""

    def __init__(self, resnet: Any, transformers: nn.ModuleList, pieces: _Pieces) -> None:
        self._first, self._second = _ResidualHalf(resnet.block1, pieces), _ResidualHalf(resnet.block2, pieces)
        self._beside = Convolution(resnet.res_conv)
        self._transformers = transformers
        self._normed_sum = pieces.normed_sum

    def __call__(self, x: Tensor, bias: Tensor, context: Context) -> Tensor:
        x = self._second(self._first(x, context) + bias, context) + self._beside(x)
        for block in self._transformers:
            x = self._transformed(block, x, context)
        return x

    def _transformed(self, block: Any, x: Tensor, context: Context) -> Tensor:
        attention, normed = block.attn1, block.norm1(x)
        keys, values = context.keys_values(attention.to_k(normed), attention.to_v(normed))
        attended = _attended(attention.to_q(normed), keys, values, attention.heads, context.mask)
        x, normed = self._normed_sum(x, attention.to_out[0](attended), block.norm3.weight, block.norm3.bias)
        y: Tensor = x + block.ff(normed)
        return y


def _encoder_layer(layer: Any, x: Tensor, positions: Tensor, context: Context) -> Tensor:
    x = x + _relative_attention(layer.self_attn, layer.norm_mha(x), positions, context)
    y: Tensor = x + layer.feed_forward(layer.norm_ff(x))
    return y


def _relative_attention(attention: Any, x: Tensor, positions: Tensor, context: Context) -> Tensor:
    """Transformer-XL's (Dai et al. 2019): the score of a query and a key depends on their distance too."""
    queries = attention.linear_q(x)
    keys, values = context.keys_values(attention.linear_k(x), attention.linear_v(x))
    by_place = _heads(queries + attention.pos_bias_v.flatten(), attention.h)
    by_distance = by_place @ attention.linear_pos(positions).view(-1, attention.h, attention.d_k).permute(1, 2, 0)
    # Query i has the score of key j at time - 1 - i + j, since `positions` go from the farthest left to the right.
    rows, heads, time, _ = by_distance.shape
    *strides, across, along = by_distance.stride()
    shape = (rows, heads, time, keys.shape[1])
    bias = by_distance.as_strided(shape, (*strides, across - along, along), (time - 1) * along)
    bias = bias * attention.d_k**-0.5
    if context.mask is not None:
        bias = bias + context.mask
    attended = _attended(queries + attention.pos_bias_u.flatten(), keys, values, attention.h, bias)
    y: Tensor = attention.linear_out(attended)
    return y


def _attended(queries: Tensor, keys: Tensor, values: Tensor, heads: int, mask: Tensor | None) -> Tensor:
    y = F.scaled_dot_product_attention(
        _heads(queries, heads), _heads(keys, heads), _heads(values, heads), attn_mask=mask
    )
    return y.transpose(1, 2).flatten(2)


def _heads(x: Tensor, heads: int) -> Tensor:
    rows, time, _ = x.shape
    return x.reshape(rows, time, heads, -1).transpose(1, 2)


def _relative_positions(kept: int, x: Tensor) -> Tensor:
    """Sinusoids of the distances between the positions of `x` and all it sees: from the farthest left to the right."""
    _, time, channels = x.shape
    distances = torch.arange(kept + time - 1, -time, -1, dtype=torch.float32, device=x.device)
    rates = torch.exp(torch.arange(0, channels, 2, dtype=torch.float32, device=x.device) * (-math.log(1e4) / channels))
    angles = distances[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).to(x.dtype)


def _embedded(embedding: Any, x: Tensor) -> Tensor:
    y: Tensor = embedding.out(x) * embedding.pos_enc.xscale
    return y


def _causal(convolution: Convolution, x: Tensor, context: Context) -> Tensor:
    return convolution(context.extended(x, convolution.reach))
