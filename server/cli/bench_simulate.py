"""`voicefleet bench simulate`: how many calls a GPU would speak for that is not at hand, reckoned in virtual time.

The engine's own schedule, streams, rows and admission run over a model of host and device. Nothing here is measured.
"""

from collections.abc import Sequence
from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from server.bench.devices import Gpu
from server.bench.simulation.comparison import Line, Variant, compared, reckoned_variant
from server.bench.simulation.costs import FORMS, GPUS, Form
from server.bench.simulation.measured import costs_from
from server.bench.simulation.plot import curves, draw
from server.bench.simulation.traffic import Traffic
from server.bench.turns.plot import require_matplotlib
from server.cli.bench_tts import Json
from server.cli.console import errors_shown


class Handover(StrEnum):
    """When the gateway asks for an answer's next clause."""

    EARLY = "early"
    LATE = "late"


OneGpu = Annotated[Gpu | None, typer.Option(help="Whose reckoned costs; else those of each.")]
OneForm = Annotated[Form | None, typer.Option(help="The flow's form, as VOICE_TTS_FLOW; else both.")]
CostsFile = Annotated[
    Path | None,
    typer.Option(
        "--costs",
        help="Measured costs in place of reckoned ones: what `bench tts --json` wrote, a worker's log line "
        "`engine_calibrated`, or JSON with the seconds of each kind of work.",
        exists=True,
        dir_okay=False,
    ),
]
Calls = Annotated[int, typer.Option(min=1, help="The first number of calls that is tried.")]
Talking = Annotated[float, typer.Option(min=0.05, max=0.95, help="Share of the time that an agent talks.")]
When = Annotated[Handover, typer.Option(help="Next clause: as soon as the last is made, or a second before its end.")]
Seconds = Annotated[float, typer.Option(min=10.0, help="Virtual seconds of each load.")]
Seed = Annotated[int, typer.Option(help="Of the calls: one seed, the same calls.")]
Plot = Annotated[
    Path | None, typer.Option(help="PNG file for first audio and lateness against calls (needs matplotlib).")
]


def simulate(
    gpu: OneGpu = None,
    flow: OneForm = None,
    costs: CostsFile = None,
    calls: Calls = 24,
    talking: Talking = 0.45,
    handover: When = Handover.EARLY,
    seconds: Seconds = 60.0,
    seed: Seed = 0,
    plot: Plot = None,
    save: Json = None,
) -> None:
    """Find the most calls of which playout does not run dry, by the schedule as it was and as it is, and who is let in.

    A load holds if at most one piece of audio in 1,000 comes late, and 95 % of first audio within 250 ms.
    """
    console = Console()
    traffic = Traffic(calls, talking, handover is Handover.EARLY, seed)
    with errors_shown():
        if plot:
            require_matplotlib()
        gpus: Sequence[Gpu] = [gpu] if gpu else GPUS
        forms: Sequence[Form] = [flow] if flow else FORMS
        variants = [reckoned_variant(*each) for each in product(gpus, forms)]
        if costs:
            variants = [Variant(costs.stem, {"as in the file": costs_from(costs, flow or "windowed")})]
        lines = list(compared(variants, traffic, seconds, lambda doing: console.print(doing, style="dim")))
        _show(console, lines)
        if save:
            save.write_bytes(msgspec.json.format(msgspec.json.encode(lines)))
        if plot:
            console.print("loads for the picture", style="dim")
            draw(list(curves(variants, lines, traffic, seconds)), plot)


def _show(console: Console, lines: Sequence[Line]) -> None:
    held = ("calls", "times", "talk", "p50, p95 ms", "late of 1,000", "rows a step", "hops a render", "of ideal, %",
            "least of work, %")  # fmt: skip
    _print(
        console,
        "reckoned, not measured: the most calls that hold",
        held,
        [
            (
                line,
                str(line.figures.calls),
                f"{line.figures.calls / line.calls_held_before:.2f}",
                f"{line.figures.streams:.0f}",
                f"{line.figures.first_audio_p50_ms:.0f}, {line.figures.first_audio_p95_ms:.0f}",
                f"{1e3 * line.figures.late_share:.1f}",
                f"{line.figures.rows_per_step:.1f}",
                f"{line.figures.hops_per_render:.1f}",
                f"{line.of_ideal:.0%} {line.work_of_ideal:.0%} of {line.ideal:.0f}".replace("%", ""),
                f"{100 * line.least_of_work:.0f}",
            )
            for line in lines
        ],
    )
    let_in = ("streams", "calls let in", "of those that hold", "p95 ms", "late of 1,000", "refused, %", "with room, %")
    _print(
        console,
        "of a fifth more calls than that, those that the node lets in",
        let_in,
        [
            (
                line,
                str(line.promised),
                f"{node.calls:.0f}",
                f"{node.of_those_that_hold:.2f}",
                f"{node.first_audio_p95_ms:.0f}",
                f"{1e3 * node.late_share:.1f}",
                f"{100 * node.refused / max(1, node.dialled):.0f}",
                f"{100 * node.refused_with_room / max(1, node.dialled):.0f}",
            )
            for line in lines
            if (node := line.admission)
        ],
    )


def _print(console: Console, title: str, columns: Sequence[str], rows: Sequence[tuple[Line, *tuple[str, ...]]]) -> None:
    """A table of which each row begins with what its line is of."""
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("device, flow, parts, schedule")
    for column in columns:
        table.add_column(column, justify="right")
    for line, *cells in rows:
        table.add_row(f"{line.device}, {line.parts}, {line.schedule}", *cells)
    console.print(table)
