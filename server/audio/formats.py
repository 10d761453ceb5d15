"""The audio formats that callers speak on the wire, to and from the int16 PCM that the models take and give.

One `Decoder` per caller's stream and one `Encoder` per answer's stream: both keep their resampler's state. Base64 and
framing belong to the dialects.
"""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from server.audio import Samples, g711
from server.audio.resampling import Resampler
from server.errors import VoicefleetError

MODEL_RATE = 16_000
"""Sample rate, in Hz, that voice activity detection and speech recognition take."""

_PCM, _PCMU, _PCMA = "audio/pcm", "audio/pcmu", "audio/pcma"
_PCM_RATES = (8_000, 16_000, 24_000, 48_000)
_PCM_DEFAULT_RATE = 24_000


class AudioFormatError(VoicefleetError):
    """Audio in a format that is not taken, or bytes that are not in the format agreed on."""


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """Mono audio as bytes: `audio/pcm` (16-bit little-endian, any of four rates), `audio/pcmu` or `audio/pcma`."""

    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"]
    rate: int
    """Samples per second."""

    @classmethod
    def of(cls, type: str, rate: int | None = None) -> Self:
        """The format that a client names; without a rate it is the type's usual one. Raises `AudioFormatError`."""
        if type == _PCM:
            if rate not in (None, *_PCM_RATES):
                rates = ", ".join(map(str, _PCM_RATES))
                raise AudioFormatError(f"audio/pcm: got rate {rate!r}; takes {rates}")
            return cls("audio/pcm", rate or _PCM_DEFAULT_RATE)
        if type in (_PCMU, _PCMA):
            if rate not in (None, g711.RATE):
                raise AudioFormatError(f"{type}: got rate {rate!r}; takes {g711.RATE}")
            return cls("audio/pcmu" if type == _PCMU else "audio/pcma", g711.RATE)
        raise AudioFormatError(f"audio format: got {type!r}; takes {_PCM}, {_PCMU} or {_PCMA}")

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample."""
        return 2 if self.type == _PCM else 1

    @property
    def bytes_per_second(self) -> int:
        """Bytes of one second of audio."""
        return self.rate * self.sample_bytes

    def check(self, n_bytes: int) -> None:
        """Raises `AudioFormatError` for bytes that are not whole samples."""
        if n_bytes % self.sample_bytes:
            raise AudioFormatError(
                f"audio/pcm: got {n_bytes} bytes; takes whole 16-bit samples, which are an even number of bytes"
            )

    def duration(self, n_bytes: int) -> float:
        """Seconds of audio in `n_bytes`."""
        return n_bytes / self.bytes_per_second


class Decoder:
    """A caller's bytes to int16 mono samples at `to_rate` Hz."""

    def __init__(self, format: AudioFormat, to_rate: int = MODEL_RATE) -> None:
        self.format = format
        self._resampler = Resampler(format.rate, to_rate)

    def decode(self, data: bytes) -> Samples:
        """The samples that are ready, 2.5 ms behind at most. Raises `AudioFormatError` and then takes nothing of it."""
        return self._resampler.push(_to_samples(data, self.format))

    def flush(self) -> Samples:
        """End the stream: the last samples."""
        return self._resampler.flush()


class Encoder:
    """int16 mono PCM at `from_rate` Hz, as an engine makes it, to the bytes that a caller takes."""

    def __init__(self, format: AudioFormat, from_rate: int) -> None:
        self.format = format
        self._resampler = Resampler(from_rate, format.rate)
        self._from = AudioFormat("audio/pcm", from_rate)

    def encode(self, pcm: bytes) -> bytes:
        """The bytes that are ready, 2.5 ms behind at most. Raises `AudioFormatError` for half a sample."""
        return _to_bytes(self._resampler.push(_to_samples(pcm, self._from)), self.format)

    def flush(self) -> bytes:
        """End the stream: the last bytes."""
        return _to_bytes(self._resampler.flush(), self.format)


def _to_samples(data: bytes, format: AudioFormat) -> Samples:
    match format.type:
        case "audio/pcmu":
            return g711.decode_ulaw(data)
        case "audio/pcma":
            return g711.decode_alaw(data)
        case _:
            format.check(len(data))
            return np.frombuffer(data, "<i2")


def _to_bytes(samples: Samples, format: AudioFormat) -> bytes:
    match format.type:
        case "audio/pcmu":
            return g711.encode_ulaw(samples)
        case "audio/pcma":
            return g711.encode_alaw(samples)
        case _:
            return samples.astype("<i2", copy=False).tobytes()
