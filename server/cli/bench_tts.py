"""`voicefleet bench tts`: how many streams Chatterbox Turbo speaks at once on this machine, and what limits them.

It needs the extra `chatterbox`. Without trained weights it takes random ones of the same shape: right for speed (token
counts are what real text gives, the sampler is on), and of no use to the ear.
"""

import asyncio
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from server.bench.tts_report import Parts, TtsReport
from server.cli.console import FAILED, errors_shown
from server.workers.engine import EngineMissing

Size = Annotated[
    Literal["full", "small"],
    typer.Option(help="Shape of the random weights; small is for a CPU, and for this command."),
]
Weights = Annotated[
    Path | None,
    typer.Option(help="Folder of trained weights in upstream's layout, in place of random ones.", exists=True),
]
Device = Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where it runs.")]
Form = Annotated[Literal["windowed", "chunked"], typer.Option(help="The flow's form, as VOICE_TTS_FLOW.")]
Computed = Annotated[
    Parts,
    typer.Option(
        help="eager; captured: prefill, flow and vocoder as CUDA graphs; compiled: and what VOICE_TTS_COMPILED fuses."
    ),
]
Rows = Annotated[int, typer.Option(min=0, help="Streams at most; 0 takes what half of the free GPU memory holds.")]
Seconds = Annotated[float, typer.Option(min=1.0, help="How long each number of streams is spoken.")]
Json = Annotated[Path | None, typer.Option("--json", help="File to write the figures to.", dir_okay=False)]


def tts(
    size: Size = "full",
    weights: Weights = None,
    device: Device = "auto",
    flow: Form = "windowed",
    parts: Computed = "eager",
    rows: Rows = 0,
    seconds: Seconds = 20.0,
    save: Json = None,
) -> None:
    """Speak 1, 2, 4 … streams at once until playout runs dry, beside upstream's own serial `generate`.

    Exits with 1 when not even one stream can be kept from running dry.
    """
    console = Console()
    with errors_shown():
        try:
            from server.bench.chatterbox import Benchmark  # noqa: PLC0415 # it brings torch along
        except ModuleNotFoundError as error:
            raise EngineMissing("chatterbox", error.name) from None
        bench = Benchmark(size, weights, device, flow, rows, parts)
        columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("")
            figures = asyncio.run(bench.run(seconds, lambda doing: progress.update(task, description=doing)))
    _show(console, figures)
    if save:
        save.write_bytes(msgspec.json.format(msgspec.json.encode(figures)))
    if not figures.most_streams:
        raise typer.Exit(FAILED)


def _show(console: Console, report: TtsReport) -> None:
    bandwidth, flops = report.ceilings.bandwidth, report.ceilings.flops
    console.print(
        f"[bold]{report.machine}[/]; weights: {report.weights}; flow: {report.flow}, {report.parts}", highlight=False
    )
    console.print(f"ceilings measured here: {bandwidth / 1e9:.1f} GB/s copied, {flops / 1e12:.2f} TFLOP/s multiplied")
    best = max(1.0 / level.real_time_factor for level in report.levels)
    serial = report.upstream_audio_seconds_per_second
    console.print(
        f"upstream's serial generate: {serial:.2f} s of audio a second; this engine: {best:.2f} while it works"
    )
    levels = _table(
        "streams that all speak: to the first audio, ms; times playout ran dry; audio heard, s/s; work for 1 s of it",
        *("streams", "p50", "p95", "dry", "audio", "RTF", "x serial", "tokens/s", "rows/step", "hops/render", "MiB"),
    )
    for level in report.levels:
        levels.add_row(
            str(level.streams),
            f"{level.first_audio_p50_ms:.0f}",
            f"{level.first_audio_p95_ms:.0f}",
            f"{level.underruns}",
            f"{level.audio_seconds_per_second:.2f}",
            f"{level.real_time_factor:.3f}",
            f"{1.0 / (level.real_time_factor * serial):.1f}",
            f"{level.tokens_per_second:.0f}",
            f"{level.rows_per_step:.1f}",
            f"{level.hops_per_render:.1f}",
            f"{level.memory_mib:.0f}",
        )
    console.print(levels)
    steps = _table("a decoding step", "rows", "ms", "GB read", "GB/s", "of the ceiling")
    for step in report.steps:
        rate = step.bytes_read / step.seconds
        steps.add_row(str(step.rows), f"{step.seconds * 1e3:.2f}", f"{step.bytes_read / 1e9:.3f}", f"{rate / 1e9:.1f}",
                      f"{rate / bandwidth:.0%}")  # fmt: skip
    console.print(steps)
    hops = _table("a hop of 2 s, 4 s into the text", "streams", "flow ms", "TFLOP/s", "of the ceiling", "vocoder ms",
                  "TFLOP/s", "ms per audio s")  # fmt: skip
    for hop in report.hops:
        flow, vocoder = hop.flow_flops / hop.flow_seconds, hop.vocoder_flops / hop.vocoder_seconds
        hops.add_row(
            str(hop.streams),
            f"{hop.flow_seconds * 1e3:.1f}",
            f"{flow / 1e12:.2f}",
            f"{flow / flops:.0%}",
            f"{hop.vocoder_seconds * 1e3:.1f}",
            f"{vocoder / 1e12:.2f}",
            f"{(hop.flow_seconds + hop.vocoder_seconds) * 1e3 / (2 * hop.streams):.1f}",
        )
    console.print(hops)
    console.print(
        f"most streams of which none ran dry: [bold]{report.most_streams}[/]; the engine admits {report.capacity}; "
        f"a row of the decoder's cache takes {report.row_mib:.1f} MiB"
    )


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, justify="right")
    return table
