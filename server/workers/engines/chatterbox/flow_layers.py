"""The flow's encoder and estimator as one forward pass over upstream's modules.

Written once for both forms of the flow: what lies left of the block to compute is a `Context`, either nothing
(`Beginning`, for whole windows) or what was kept of the blocks before. It knows nothing of streams, noise or hops.

Tensors are [rows, time, channels], rows padded at the right. All convolutions look left, but for the first of the
pre-lookahead, whose input is zeroed past the end of its row: so padding reaches a real position through attention
alone, where it is masked.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from chatterbox.models.s3gen.decoder import ConditionalDecoder
from chatterbox.models.s3gen.transformer.upsample_encoder import UpsampleConformerEncoder
from torch import Tensor, nn
from torch.nn import functional as F

from server.workers.engines.chatterbox.transfer import sent

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


def key_mask(kept: Sequence[int], lengths: Sequence[int], like: Tensor) -> Tensor | None:
    """The mask of a batch whose rows end their `kept` positions and begin their `lengths` new ones at one place."""
    before, after = max(kept), max(lengths)
    if min(kept) == before and min(lengths) == after:
        return None
    real = torch.zeros(len(lengths), 1, 1, before + after, dtype=torch.bool)
    for row, (left, right) in enumerate(zip(kept, lengths, strict=True)):
        real[row, :, :, before - left : before + right] = True
    return sent(torch.zeros(real.shape, dtype=like.dtype).masked_fill(~real, -math.inf), like.device)


def encode(encoder: UpsampleConformerEncoder, x: Tensor, real: Tensor, tokens: Context, frames: Context) -> Tensor:
    """The encoder's features [rows, 2 * time, channels] of embedded tokens [rows, time + lookahead, channels].

    `real` is bool [rows, time + lookahead, 1]: false past the end of a row, of its lookahead if it has one.
    """
    lookahead = encoder.pre_lookahead_layer
    x = _embedded(encoder.embed, x) * real  # a bias has made something of the padding
    ahead = F.leaky_relu(_convolved(lookahead.conv1, x))
    x = x[:, : ahead.shape[1]] + _causal(lookahead.conv2, ahead, tokens)
    positions = _relative_positions(tokens.kept, x)
    for layer in encoder.encoders:
        x = _encoder_layer(layer, x, positions, tokens)
    x = _causal(encoder.up_layer.conv, x.repeat_interleave(FRAMES_PER_TOKEN, dim=1), frames)
    x = _embedded(encoder.up_embed, x)
    positions = _relative_positions(frames.kept, x)
    for layer in encoder.up_encoders:
        x = _encoder_layer(layer, x, positions, frames)
    features: Tensor = encoder.after_norm(x)
    return features


class Estimator:
    """The flow's velocity at the times of the Euler steps, which are all it is ever asked for."""

    def __init__(self, module: ConditionalDecoder) -> None:
        (self._down,), (self._up,) = module.down_blocks, module.up_blocks
        self._module = module
        self._resnets = [self._down[0], *(resnet for resnet, _ in module.mid_blocks), self._up[0]]
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
        biases = iter(self._biases[step])
        resnet, transformers, downsampling = self._down
        x = skipped = _stage(resnet, transformers, x, next(biases), context)
        x = _causal(downsampling, x, context)
        for resnet, transformers in self._module.mid_blocks:
            x = _stage(resnet, transformers, x, next(biases), context)
        resnet, transformers, upsampling = self._up
        x = _stage(resnet, transformers, torch.cat([x, skipped], dim=-1), next(biases), context)
        x = _causal(upsampling, x, context)
        x = _residual_half(self._module.final_block, x, context)
        return _convolved(self._module.final_proj, x)


def _stage(resnet: Any, transformers: nn.ModuleList, x: Tensor, bias: Tensor, context: Context) -> Tensor:
    inner = _residual_half(resnet.block1, x, context) + bias
    x = _residual_half(resnet.block2, inner, context) + _convolved(resnet.res_conv, x)
    for block in transformers:
        x = _transformer_block(block, x, context)
    return x


def _residual_half(half: Any, x: Tensor, context: Context) -> Tensor:
    convolution, _, norm, _, activation = half.block  # the others transpose
    y: Tensor = activation(norm(_causal(convolution, x, context)))
    return y


def _transformer_block(block: Any, x: Tensor, context: Context) -> Tensor:
    attention, normed = block.attn1, block.norm1(x)
    keys, values = context.keys_values(attention.to_k(normed), attention.to_v(normed))
    attended = _attended(attention.to_q(normed), keys, values, attention.heads, context.mask)
    x = x + attention.to_out[0](attended)
    y: Tensor = x + block.ff(block.norm3(x))
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


def _causal(convolution: nn.Conv1d, x: Tensor, context: Context) -> Tensor:
    return _convolved(convolution, context.extended(x, convolution.kernel_size[0] - 1))


def _convolved(convolution: nn.Conv1d, x: Tensor) -> Tensor:
    """Without padding. One matrix product: the channels stay last, and no length is special to it."""
    windows = x.unfold(1, convolution.kernel_size[0], 1).transpose(2, 3).flatten(2)
    return F.linear(windows, convolution.weight.transpose(1, 2).flatten(1), convolution.bias)
