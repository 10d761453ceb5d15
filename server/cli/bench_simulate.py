"""`voicefleet bench simulate`: how many calls a GPU would speak for that is not at hand, reckoned in virtual time.

The engine's own schedule, streams, rows and admission run over a model of host and device. Nothing here is measured.
"""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from server.bench.devices import Gpu
from server.bench.simulation.comparison import Line, compared
from server.bench.simulation.costs import FORMS, GPUS, DeviceCosts, Form
from server.bench.simulation.simulation import Figures, simulated
from server.bench.simulation.traffic import Traffic
from server.cli.bench_tts import Json
from server.cli.console import errors_shown
from server.errors import VoicefleetError


class Handover(StrEnum):
    """When the gateway asks for an answer's next clause."""

    EARLY = "early"
    LATE = "late"


class WrongCosts(VoicefleetError):
    """A file that does not say what work costs."""

    def __init__(self, path: Path, why: str) -> None:
        names = ", ".join(DeviceCosts.__dataclass_fields__)
        super().__init__(f"{path}: {why}; takes a JSON object of seconds: {names}")


OneGpu = Annotated[Gpu | None, typer.Option(help="Whose reckoned costs; else those of each.")]
OneForm = Annotated[Form | None, typer.Option(help="The flow's form, as VOICE_TTS_FLOW; else both.")]
CostsFile = Annotated[
    Path | None,
    typer.Option("--costs", help="JSON with the seconds of each kind of work, in place of reckoned ones.", exists=True),
]
Calls = Annotated[int, typer.Option(min=1, help="Calls: the first number tried, or with --costs the only one.")]
Talking = Annotated[float, typer.Option(min=0.05, max=0.95, help="Share of the time that an agent talks.")]
When = Annotated[Handover, typer.Option(help="Next clause: as soon as the last is made, or a second before its end.")]
Seconds = Annotated[float, typer.Option(min=10.0, help="Virtual seconds of each load.")]
Seed = Annotated[int, typer.Option(help="Of the calls: one seed, the same calls.")]


def simulate(
    gpu: OneGpu = None,
    flow: OneForm = None,
    costs: CostsFile = None,
    calls: Calls = 24,
    talking: Talking = 0.45,
    handover: When = Handover.EARLY,
    seconds: Seconds = 60.0,
    seed: Seed = 0,
    save: Json = None,
) -> None:
    """Find the most calls of which playout does not run dry, by the schedule as it was and as it is.

    A load holds if at most one piece of audio in 1,000 comes late, and 95 % of first audio within 250 ms.
    """
    console = Console()
    traffic = Traffic(calls, talking, handover is Handover.EARLY, seed)
    with errors_shown():
        if costs:
            figures = simulated(_read(costs), traffic, seconds)
            _show_one(console, figures)
            encoded = msgspec.json.encode(figures)
        else:
            gpus: Sequence[Gpu] = [gpu] if gpu else GPUS
            forms: Sequence[Form] = [flow] if flow else FORMS
            lines = compared(gpus, forms, traffic, seconds, lambda doing: console.print(doing, style="dim"))
            _show(console, lines)
            encoded = msgspec.json.encode(lines)
    if save:
        save.write_bytes(msgspec.json.format(encoded))


def _read(path: Path) -> DeviceCosts:
    """Raises `WrongCosts`."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=DeviceCosts)
    except msgspec.MsgspecError as error:
        raise WrongCosts(path, str(error)) from None


def _show(console: Console, lines: Sequence[Line]) -> None:
    columns = ("device, flow, parts, schedule", "calls", "times", "talk", "p50", "p95", "dry", "rows/step",
               "hops/render", "ms/audio s", "admits")  # fmt: skip
    table = Table(title="reckoned, not measured: the most calls that hold", title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, justify="left" if column == columns[0] else "right")
    for line in lines:
        figures = line.figures
        table.add_row(
            f"{line.gpu} {line.flow}, {line.parts}, {line.schedule}",
            str(figures.calls),
            f"{figures.calls / line.calls_held_before:.2f}",
            f"{figures.streams:.0f}",
            f"{figures.first_audio_p50_ms:.0f}",
            f"{figures.first_audio_p95_ms:.0f}",
            str(figures.ran_dry),
            f"{figures.rows_per_step:.1f}",
            f"{figures.hops_per_render:.1f}",
            f"{figures.device_ms_per_audio_second:.1f}",
            str(line.admitted),
        )
    console.print(table)


def _show_one(console: Console, figures: Figures) -> None:
    table = Table(title="reckoned, not measured", title_justify="left", title_style="bold", show_header=False)
    for name in Figures.__dataclass_fields__:
        value = getattr(figures, name)
        if name == "reasons":
            for reason, times in sorted(figures.reasons.items(), key=lambda item: -item[1]):
                table.add_row(reason, str(times))
        else:
            table.add_row(name, f"{value:.3f}" if isinstance(value, float) else str(value))
    console.print(table)
