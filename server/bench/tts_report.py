"""What `voicefleet bench tts` measured, as it is shown and written to a file. It needs no torch to be read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Parts = Literal["eager", "captured", "compiled"]
"""Steps are captured in all of them; prefill, flow and vocoder in the second; the third has them compiled, too."""


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Of this device: bytes a second of a large copy (read and written), FLOP a second of a large matrix product."""

    bandwidth: float
    flops: float


@dataclass(frozen=True, slots=True)
class StepProfile:
    """One decoding step of so many rows: what it takes, and the bytes that it cannot but read."""

    rows: int
    seconds: float
    bytes_read: int


@dataclass(frozen=True, slots=True)
class HopProfile:
    """One hop of 2 s of so many streams, 4 s into their text."""

    streams: int
    flow_seconds: float
    flow_flops: int
    vocoder_seconds: float
    vocoder_flops: int


@dataclass(frozen=True, slots=True)
class Level:
    """So many streams that all speak, all the time."""

    streams: int
    first_audio_p50_ms: float
    first_audio_p95_ms: float
    underruns: int
    chunks: int
    audio_seconds_per_second: float
    """Heard: as much as there are streams, where playout keeps pace."""
    real_time_factor: float
    """Seconds that the engine worked for a second of audio: the inverse is what it would make if nobody listened."""
    tokens_per_second: float
    rows_per_step: float
    hops_per_render: float
    memory_mib: float

    @property
    def holds(self) -> bool:
        """Whether nobody's playout ran dry."""
        return self.underruns == 0


@dataclass(frozen=True, slots=True)
class TtsReport:
    """Everything that was measured, in one run."""

    machine: str
    weights: str
    flow: Literal["windowed", "chunked"]
    parts: Parts
    ceilings: Ceilings
    upstream_audio_seconds_per_second: float
    row_mib: float
    capacity: int
    """Streams that the engine itself would admit."""
    levels: Sequence[Level]
    steps: Sequence[StepProfile]
    hops: Sequence[HopProfile]

    @property
    def most_streams(self) -> int:
        """The largest number of streams of which none ran dry."""
        return max((level.streams for level in self.levels if level.holds), default=0)
