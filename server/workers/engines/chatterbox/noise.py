"""Random numbers that depend on nothing but a seed and a place: the same in any batch, hop or process.

A counter is hashed (splitmix64, Steele et al. 2014) in place of a generator's state being kept, so each stream has
noise of its own without any being stored, and a stream that is started again sounds the same.
"""

import math

import torch
from torch import Tensor

_GOLDEN = -0x61C8864680B583EB  # 2^64 / golden ratio, as a signed 64-bit number
_MIX_1 = -0x40A7B892E31B1A47
_MIX_2 = -0x6B2FB644ECCEEE15


def uniform(seed: Tensor, *place: Tensor | int) -> Tensor:
    """float32 in (0, 1), of the shape to which `seed` and the coordinates of `place`, all int64, broadcast."""
    return _unit(_hashed(seed, place), 40)


def normal(seed: Tensor, *place: Tensor | int) -> Tensor:
    """float32 from the standard normal distribution, shaped as `uniform`'s (Box and Muller 1958)."""
    bits = _hashed(seed, place)
    return torch.sqrt(-2.0 * torch.log(_unit(bits, 40))) * torch.cos(2.0 * math.pi * _unit(bits, 8))


def _hashed(seed: Tensor, place: tuple[Tensor | int, ...]) -> Tensor:
    bits = _mixed(seed * _GOLDEN)
    for coordinate in place:
        bits = _mixed((bits + coordinate + 1) * _GOLDEN)
    return bits


def _unit(bits: Tensor, lowest: int) -> Tensor:
    """24 of the bits, from the `lowest` up, as a number that is neither 0 nor 1."""
    return ((_shifted(bits, lowest) & 0xFFFFFF).to(torch.float32) + 0.5) * 2.0**-24


def _mixed(bits: Tensor) -> Tensor:
    bits = (bits ^ _shifted(bits, 30)) * _MIX_1
    bits = (bits ^ _shifted(bits, 27)) * _MIX_2
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, by: int) -> Tensor:
    """A logical shift to the right; torch's own drags the sign along."""
    return (bits >> by) & ((1 << (64 - by)) - 1)
