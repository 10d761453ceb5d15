"""How many streams Chatterbox speaks: `python -m tests.bench.tts_throughput [--size full|small] [--device cuda|cpu]`.

The figures of `voicefleet bench tts`, in Markdown. That no stream could be kept from running dry is a figure as well.
"""

import argparse
import asyncio
from pathlib import Path
from typing import get_args

import msgspec

from server.bench.chatterbox import Benchmark
from server.bench.tts_report import Parts, TtsReport
from tests.bench.a10g import Measured, Rendering, Step
from tests.bench.markdown import table

_HOP_SECONDS = 2.0
# Read and written for each FLOP, as counted at full size: the vocoder's Snake and the chunked flow's cache move much
# and compute little.
_BYTES_PER_FLOP = {"windowed": 0.009, "chunked": 0.039, "vocoder": 0.036}


def markdown(report: TtsReport) -> str:
    """What was measured, part by part."""
    bandwidth, flops = report.ceilings.bandwidth, report.ceilings.flops
    serial = report.upstream_audio_seconds_per_second
    head = (
        f"{report.machine}; weights: {report.weights}; flow: {report.flow}, {report.parts}. Ceilings measured here: "
        f"{bandwidth / 1e9:.0f} GB/s copied, {flops / 1e12:.2f} TFLOP/s multiplied. Upstream's serial `generate`: "
        f"{serial:.2f} s of audio a second. A row of the decoder's cache takes {report.row_mib:.1f} MiB.\n"
    )
    levels = table(
        ("streams", "first audio p50 ms", "p95 ms", "ran dry", "audio s/s", "RTF", "x serial", "tokens/s", "rows/step",
         "hops/render", "MiB"),
        (
            (level.streams, f"{level.first_audio_p50_ms:.0f}", f"{level.first_audio_p95_ms:.0f}", level.underruns,
             f"{level.audio_seconds_per_second:.2f}", f"{level.real_time_factor:.4f}",
             f"{1 / (level.real_time_factor * serial):.1f}", f"{level.tokens_per_second:.0f}",
             f"{level.rows_per_step:.1f}", f"{level.hops_per_render:.1f}", f"{level.memory_mib:.0f}")
            for level in report.levels
        ),
    )  # fmt: skip
    held = f"**Most streams of which none ran dry: {report.most_streams}**; the engine admits {report.capacity}.\n"
    steps = table(
        ("rows of a step", "ms", "GB read", "GB/s", "of the ceiling"),
        (
            (step.rows, f"{step.seconds * 1e3:.2f}", f"{step.bytes_read / 1e9:.3f}",
             f"{step.bytes_read / step.seconds / 1e9:.0f}", f"{step.bytes_read / step.seconds / bandwidth:.0%}")
            for step in report.steps
        ),
    )  # fmt: skip
    hops = table(
        ("streams of a 2 s hop", "flow ms", "TFLOP/s", "of the ceiling", "vocoder ms", "TFLOP/s"),
        (
            (hop.streams, f"{hop.flow_seconds * 1e3:.1f}", f"{hop.flow_flops / hop.flow_seconds / 1e12:.2f}",
             f"{hop.flow_flops / hop.flow_seconds / flops:.0%}", f"{hop.vocoder_seconds * 1e3:.1f}",
             f"{hop.vocoder_flops / hop.vocoder_seconds / 1e12:.2f}")
            for hop in report.hops
        ),
    )  # fmt: skip
    return "\n".join((head, levels, held, steps, hops))


def measured(report: TtsReport) -> Measured:
    """The part of it that another device's figures are reckoned from."""
    hop = max(report.hops, key=lambda profile: profile.streams)
    audio = _HOP_SECONDS * hop.streams
    return Measured(
        bandwidth=report.ceilings.bandwidth,
        flops=report.ceilings.flops,
        steps=[Step(step.rows, step.seconds, step.bytes_read) for step in report.steps],
        renderings=[
            Rendering(name, flops / audio, _BYTES_PER_FLOP[kind] * flops / audio, seconds / audio)
            for name, kind, flops, seconds in (
                ("flow", report.flow, hop.flow_flops, hop.flow_seconds),
                ("vocoder", "vocoder", hop.vocoder_flops, hop.vocoder_seconds),
            )
        ],
        row_bytes=report.row_mib * 2**20,
        streams=report.most_streams,
        rows=max(step.rows for step in report.steps),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=("full", "small"), default="full")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--flow", choices=("windowed", "chunked"), default="windowed", help="as VOICE_TTS_FLOW")
    parser.add_argument("--parts", choices=get_args(Parts), default="eager", help="as `voicefleet bench tts --parts`")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each number of streams is spoken")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()
    bench = Benchmark(options.size, None, options.device, options.flow, rows=0, parts=options.parts)
    report = asyncio.run(bench.run(options.seconds, lambda doing: print(doing, flush=True)))
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    print(markdown(report))


if __name__ == "__main__":
    main()
