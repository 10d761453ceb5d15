"""What a measured machine's figures say about an A10G: by shares of ceilings, every step of the arithmetic written out.

Pure. It assumes that each part of the work reaches the same share of the A10G's ceilings as of the measured device's,
and that what the model of the work leaves out (the host, copies, waits) costs the same share there as here. Neither is
a measurement.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TOKENS_PER_SECOND = 25
"""Speech tokens, so decoding steps, of a second of audio."""

BUSY_AT_MOST = 0.85
"""The share of its time that the engine lets the device work for streams, as its own admission does."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """Bytes a second, half precision FLOP a second, bytes of memory, and the virtual cores beside it."""

    bandwidth: float
    flops: float
    memory: float
    cores: int


A10G = Gpu(bandwidth=600e9, flops=70e12, memory=24e9, cores=4)
"""Of a g5.xlarge, from the data sheet; dense."""

_MODELS_BYTES = 3e9  # Chatterbox in half precision, Whisper, two CUDA contexts
_ROWS_SHARE = 0.5  # of what is then free: the flow's and the vocoder's batches need the other half


@dataclass(frozen=True, slots=True)
class Step:
    """A decoding step of so many rows: seconds, and the bytes that it cannot but read."""

    rows: int
    seconds: float
    bytes_read: float


@dataclass(frozen=True, slots=True)
class Rendering:
    """Flow or vocoder: what a second of one stream's audio takes of FLOP and of bytes read and written, and the seconds
    that it took in the largest batch."""

    name: str
    flops: float
    bytes_moved: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Measured:
    """A device, by what it reached itself: ceilings of plain copies and products, steps, renderings, streams held."""

    bandwidth: float
    flops: float
    steps: Sequence[Step]
    renderings: Sequence[Rendering]
    row_bytes: float
    streams: int
    rows: int
    """That there were: more streams could not have been measured."""


@dataclass(frozen=True, slots=True)
class NodeMeasured:
    """A whole node on the measured device: calls held, and the gateway's CPU seconds for a second of one call."""

    sessions: int
    gateway_cpu: float


@dataclass(frozen=True, slots=True)
class Scaled:
    """Streams that the other device would speak, sessions if a node was measured, and how that was reckoned."""

    streams: int
    sessions: int | None
    arithmetic: Sequence[str]


def scaled(measured: Measured, target: Gpu = A10G, node: NodeMeasured | None = None) -> Scaled:
    """Reckon what `target` would hold. `measured` needs a step and a rendering, each of more than no time."""
    fixed, per_row = _bytes_of_a_step(measured.steps)
    bandwidth_shares = [step.bytes_read / step.seconds / measured.bandwidth for step in measured.steps]
    audio_here = sum(part.seconds for part in measured.renderings)
    bounds = [_bound(part, measured, target) for part in measured.renderings]
    audio_there = sum(bound.seconds_there for bound in bounds)

    def step_seconds(streams: int, bandwidth: float) -> float:
        share = float(np.interp(streams, [step.rows for step in measured.steps], bandwidth_shares))
        return (fixed + per_row * streams) / (share * bandwidth)

    def busy(streams: int, bandwidth: float, audio: float) -> float:
        return TOKENS_PER_SECOND * step_seconds(streams, bandwidth) + streams * audio

    def most(rows: int, bandwidth: float, audio: float) -> int:
        return max((n for n in range(1, rows + 1) if busy(n, bandwidth, audio) <= BUSY_AT_MOST), default=0)

    rows = int((target.memory - _MODELS_BYTES) * _ROWS_SHARE / measured.row_bytes)
    modelled_here = most(measured.rows, measured.bandwidth, audio_here)
    modelled_there = most(rows, target.bandwidth, audio_there)
    kept = min(1.0, measured.streams / modelled_here) if modelled_here else 1.0
    streams = int(kept * modelled_there)
    shown = max(1, modelled_there)
    lines = [
        f"A step reads {fixed / 1e9:.3f} GB and {per_row / 1e6:.2f} MB a row. Here it reaches "
        + ", ".join(f"{share:.0%} at {step.rows}" for step, share in zip(measured.steps, bandwidth_shares, strict=True))
        + f" rows of the {measured.bandwidth / 1e9:.0f} GB/s that a copy reaches.",
        *(
            f"The {part.name} needs {part.flops / 1e9:.1f} GFLOP and {part.bytes_moved / 1e9:.2f} GB for a second of "
            f"audio and takes {part.seconds * 1e3:.3f} ms here: {bound.share:.1%} of {bound.here}, its limit. The same "
            f"share of {bound.there}: {bound.seconds_there * 1e3:.2f} ms there."
            for part, bound in zip(measured.renderings, bounds, strict=True)
        ),
        f"There, of {target.bandwidth / 1e9:.0f} GB/s, a step of {shown} rows takes "
        f"{step_seconds(shown, target.bandwidth) * 1e3:.2f} ms; {shown} streams keep it busy for {TOKENS_PER_SECOND} * "
        f"{step_seconds(shown, target.bandwidth) * 1e3:.2f} ms + {shown} * {audio_there * 1e3:.2f} ms = "
        f"{busy(shown, target.bandwidth, audio_there):.2f} s of a second.",
        f"Memory: ({target.memory / 1e9:.0f} - {_MODELS_BYTES / 1e9:.0f}) GB * {_ROWS_SHARE} / "
        f"{measured.row_bytes / 1e6:.1f} MB a row = {rows} rows.",
        f"The most streams that keep it busy for at most {BUSY_AT_MOST:.0%}: {modelled_there} there; {modelled_here} "
        f"by the same sum here, where {measured.streams} held of {measured.rows} rows: {kept:.0%}, and so "
        f"{modelled_there} * {kept:.2f} = **{streams} streams** there.",
    ]  # fmt: skip
    if node is None or not measured.streams:
        return Scaled(streams, None, lines)
    by_gpu = int(streams * node.sessions / measured.streams)
    by_core = int(BUSY_AT_MOST / node.gateway_cpu) if node.gateway_cpu else by_gpu
    sessions = min(by_gpu, by_core)
    lines += [
        f"A node held {node.sessions} calls here, {node.sessions / measured.streams:.2f} for each stream, since nobody "
        f"listens all the time: {streams} * {node.sessions / measured.streams:.2f} = {by_gpu} there.",
        f"The gateway takes {node.gateway_cpu:.4f} s of CPU for a second of a call, on one of {target.cores} vCPU as "
        f"fast as these: {BUSY_AT_MOST:.2f} / {node.gateway_cpu:.4f} = {by_core} calls. The lesser of both: "
        f"**{sessions} sessions**.",
    ]
    return Scaled(streams, sessions, lines)


@dataclass(frozen=True, slots=True)
class _Bound:
    """What limits a rendering: the ceiling here of which it reaches the larger `share`, and the same one there."""

    share: float
    here: str
    there: str
    seconds_there: float


def _bound(part: Rendering, measured: Measured, target: Gpu) -> _Bound:
    computing, moving = part.flops / measured.flops, part.bytes_moved / measured.bandwidth
    if computing >= moving:
        here, there = (f"{flops / 1e12:.2f} TFLOP/s" for flops in (measured.flops, target.flops))
        return _Bound(computing / part.seconds, here, there, part.seconds * measured.flops / target.flops)
    here, there = (f"{bandwidth / 1e9:.0f} GB/s" for bandwidth in (measured.bandwidth, target.bandwidth))
    return _Bound(moving / part.seconds, here, there, part.seconds * measured.bandwidth / target.bandwidth)


def _bytes_of_a_step(steps: Sequence[Step]) -> tuple[float, float]:
    """What is read whatever the rows, and for each row: the line through all steps."""
    if len(steps) == 1:
        return steps[0].bytes_read, 0.0
    per_row, fixed = np.polyfit([step.rows for step in steps], [step.bytes_read for step in steps], 1)
    return float(fixed), float(per_row)
