"""WAV files as int16 mono samples: the formats that speech comes in, read; 16-bit PCM, written.

The standard library's `wave` refuses G.711 and, before Python 3.12, WAVE_FORMAT_EXTENSIBLE. A file is read whole and
can be decoded in pieces; it is not resampled.
"""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from server.audio import Samples, g711
from server.errors import VoicefleetError

_TAKES = "a WAV file with 8, 16, 24 or 32-bit PCM, mu-law or A-law"
_EXTENSIBLE = 0xFFFE
_UNKNOWN_SIZE = 0xFFFFFFFF


class WavError(VoicefleetError):
    """The file is no WAV file, or one in a format that is not read."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}; takes {_TAKES}")


class _Format(NamedTuple):
    tag: int
    channels: int
    rate: int
    bits: int


def _pcm8(data: bytes) -> Samples:
    return (np.frombuffer(data, np.uint8).astype(np.int16) - 128) << 8


def _pcm16(data: bytes) -> Samples:
    return np.frombuffer(data, "<i2")


def _pcm24(data: bytes) -> Samples:
    upper_two = np.frombuffer(data, np.uint8).reshape(-1, 3)[:, 1:]
    return np.ascontiguousarray(upper_two).view("<i2").ravel()


def _pcm32(data: bytes) -> Samples:
    return np.ascontiguousarray(np.frombuffer(data, "<i2")[1::2])


_DECODERS: dict[tuple[int, int], Callable[[bytes], Samples]] = {  # by format tag and bits per sample
    (1, 8): _pcm8,
    (1, 16): _pcm16,
    (1, 24): _pcm24,
    (1, 32): _pcm32,
    (6, 8): g711.decode_alaw,
    (7, 8): g711.decode_ulaw,
}


class Wav:
    """A WAV file's audio, decoded where it is asked for. `rate` is in Hz, `frames` its length in samples."""

    def __init__(self, content: bytes | bytearray, name: str) -> None:
        """`name` is what an error calls the file. Raises `WavError`."""
        if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
            raise WavError(name, "is not a WAV file")
        chunks = _chunks(memoryview(content))
        try:
            layout = _parse_format(chunks[b"fmt "])
            self._data = chunks[b"data"]
        except (KeyError, struct.error):
            raise WavError(name, "has no format or no audio in it") from None
        decode = _DECODERS.get((layout.tag, layout.bits))
        if decode is None or not layout.channels or not layout.rate:
            raise WavError(
                name, f"has format {layout.tag}, {layout.bits} bits, {layout.channels} channels, {layout.rate} Hz"
            )
        self._decode, self._channels = decode, layout.channels
        self._frame_bytes = layout.channels * layout.bits // 8
        self.rate = layout.rate
        self.frames = len(self._data) // self._frame_bytes

    def samples(self, start: int, end: int) -> Samples:
        """int16 mono samples, the channels' mean, from frame `start` up to `end`."""
        data = self._data[start * self._frame_bytes : min(end, self.frames) * self._frame_bytes]
        frames = self._decode(bytes(data)).reshape(-1, self._channels)
        return frames[:, 0] if self._channels == 1 else frames.mean(axis=1).astype(np.int16)


def read_wav(path: Path) -> tuple[Samples, int]:
    """The file's int16 mono samples (the channels' mean) and their rate in Hz. Raises `WavError`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WavError(str(path), f"can't be read ({error.strerror})") from None
    wav = Wav(content, str(path))
    return wav.samples(0, wav.frames), wav.rate


def write_wav(path: Path, samples: Samples, rate: int) -> None:
    """Write int16 mono `samples` at `rate` Hz as 16-bit PCM."""
    data = samples.astype("<i2", copy=False).tobytes()
    path.write_bytes(wav_header(rate, len(data)) + data)


def wav_header(rate: int, n_bytes: int | None = None) -> bytes:
    """What stands before `n_bytes` of 16-bit mono PCM at `rate` Hz; None: before a stream, up to its end."""
    size = _UNKNOWN_SIZE if n_bytes is None else n_bytes
    layout = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16)
    riff = struct.pack("<4sI4s", b"RIFF", min(36 + size, _UNKNOWN_SIZE), b"WAVE")
    return riff + layout + struct.pack("<4sI", b"data", size)


def _chunks(content: memoryview) -> dict[bytes, memoryview]:
    """Each chunk's content by its name. A size beyond the end, as streaming writers leave it, means up to the end."""
    chunks = {}
    at = 12
    while at + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, at)
        chunks[name] = content[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    return chunks


def _parse_format(chunk: memoryview) -> _Format:
    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == _EXTENSIBLE:  # the real tag leads the sub-format's GUID
        (tag,) = struct.unpack_from("<H", chunk, 24)
    return _Format(tag, channels, rate, bits)
