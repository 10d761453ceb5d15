"""G.711, the telephone network's two 8-bit codes, as table look-ups: 14-bit mu-law and 13-bit A-law.

One byte is one sample. The tables are computed from the segments of ITU-T G.711 and agree with the standard library's
`audioop` (gone from Python 3.13) in all 65,536 inputs. Resampling is not done here.
"""

import numpy as np
from numpy.typing import NDArray

from server.audio import Samples

RATE = 8000
"""Samples per second of G.711 on a telephone line."""

_ULAW_BIAS = 33  # moves the segment borders to powers of two
_ULAW_CLIP = 8158  # with the bias, the largest value of the top segment
_ALAW_EVEN_BITS = 0x55  # A-law is sent with every other bit inverted


def _bit_length(values: NDArray[np.int32]) -> NDArray[np.int32]:
    return np.frexp(values.astype(np.float64))[1].astype(np.int32)


def _ulaw_encode_table() -> NDArray[np.uint8]:
    samples = np.arange(65536).astype(np.uint16).view(np.int16).astype(np.int32) >> 2
    biased = np.minimum(np.abs(samples), _ULAW_CLIP) + _ULAW_BIAS
    segment = _bit_length(biased) - 6
    code = segment << 4 | (biased >> segment + 1) & 0x0F
    table: NDArray[np.uint8] = (code ^ np.where(samples < 0, 0x7F, 0xFF)).astype(np.uint8)
    return table


def _ulaw_decode_table() -> Samples:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = (((code & 0x0F) << 1) + _ULAW_BIAS << (code >> 4 & 7)) - _ULAW_BIAS << 2
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _alaw_encode_table() -> NDArray[np.uint8]:
    samples = np.arange(65536).astype(np.uint16).view(np.int16).astype(np.int32) >> 3
    magnitude = np.where(samples < 0, ~samples, samples)
    segment = np.maximum(_bit_length(magnitude) - 5, 0)
    code = segment << 4 | (magnitude >> np.maximum(segment, 1)) & 0x0F
    table: NDArray[np.uint8] = (code ^ np.where(samples < 0, 0, 0x80) ^ _ALAW_EVEN_BITS).astype(np.uint8)
    return table


def _alaw_decode_table() -> Samples:
    code = np.arange(256, dtype=np.int32) ^ _ALAW_EVEN_BITS
    segment = code >> 4 & 7
    step = ((code & 0x0F) << 1) + 1  # the middle of the interval
    magnitude = np.where(segment == 0, step, step + 32) << np.maximum(segment - 1, 0) + 3
    table: Samples = np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)
    return table


_ULAW_ENCODE, _ULAW_DECODE = _ulaw_encode_table(), _ulaw_decode_table()
_ALAW_ENCODE, _ALAW_DECODE = _alaw_encode_table(), _alaw_decode_table()


def encode_ulaw(samples: Samples) -> bytes:
    """int16 samples to mu-law, a byte each."""
    return _ULAW_ENCODE[samples.view(np.uint16)].tobytes()


def decode_ulaw(data: bytes) -> Samples:
    """mu-law bytes to int16 samples, one each."""
    return _ULAW_DECODE[np.frombuffer(data, np.uint8)]


def encode_alaw(samples: Samples) -> bytes:
    """int16 samples to A-law, a byte each."""
    return _ALAW_ENCODE[samples.view(np.uint16)].tobytes()


def decode_alaw(data: bytes) -> Samples:
    """A-law bytes to int16 samples, one each."""
    return _ALAW_DECODE[np.frombuffer(data, np.uint8)]
