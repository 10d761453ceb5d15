"""The picture of a simulation: what callers get as calls become more, before and now, and how many are let in.

It needs matplotlib, which a node has not.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from server.bench.simulation.comparison import BEFORE, Line, Variant, schedules
from server.bench.simulation.simulation import FIRST_AUDIO_MS, LATE_AT_MOST, Figures
from server.bench.simulation.traffic import Traffic

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOADS = (0.4, 0.6, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35)  # of the calls that hold
_COLOURS = ("tab:gray", "tab:blue", "tab:green", "tab:orange")
_LOWEST_PER_1000 = 0.1  # what is none is drawn there, as the scale is logarithmic


@dataclass(frozen=True, slots=True)
class Curve:
    """One schedule under rising load."""

    line: Line
    loads: Sequence[Figures]

    @property
    def admitted(self) -> float:
        """Calls that are let in where more dial: one a stream by the schedule as it was."""
        return self.line.admission.calls if self.line.admission else self.line.promised


def curves(variants: Sequence[Variant], lines: Sequence[Line], traffic: Traffic, seconds: float) -> Iterator[Curve]:
    """The loads around that of each line."""
    by_name = {variant.name: schedules(variant, seconds) for variant in variants}
    for line in lines:
        run = by_name[line.device][BEFORE if line.schedule == BEFORE else line.parts]
        calls = sorted({max(1, round(load * line.figures.calls)) for load in _LOADS})
        yield Curve(line, [run(replace(traffic, calls=number)) for number in calls])


def draw(all_curves: Sequence[Curve], path: Path) -> None:
    """Write them as a PNG file, a column for each device."""
    from matplotlib.figure import Figure  # noqa: PLC0415 # a node has none

    devices: dict[str, list[Curve]] = defaultdict(list)
    for curve in all_curves:
        devices[curve.line.device].append(curve)
    figure = Figure(figsize=(1.0 + 3.5 * len(devices), 6.0), dpi=110, layout="constrained")
    grid = figure.subplots(2, len(devices), sharex="col", sharey="row", squeeze=False)
    for (device, of_device), first_audio, late in zip(devices.items(), *grid, strict=True):
        first_audio.set_title(device)
        for curve, colour in zip(of_device, _COLOURS, strict=False):
            _draw(curve, colour, first_audio, late)
        first_audio.axhline(FIRST_AUDIO_MS, color="tab:red", linewidth=0.8)
        first_audio.set_ylim(0.0, 2.0 * FIRST_AUDIO_MS)
        late.axhline(1e3 * LATE_AT_MOST, color="tab:red", linewidth=0.8)
        late.set_yscale("log")
        late.set_xlabel("calls")
    grid[0, 0].set_ylabel("first audio, p95, ms")
    grid[1, 0].set_ylabel("pieces of audio that come late, of 1,000")
    grid[0, 0].legend(fontsize=8, loc="upper left")
    figure.suptitle("Reckoned, not measured. Stars: calls that are let in. Red: beyond it, a load does not hold")
    figure.savefig(path)


def _draw(curve: Curve, colour: str, first_audio: "Axes", late: "Axes") -> None:
    calls = [figures.calls for figures in curve.loads]
    latencies = [figures.first_audio_p95_ms for figures in curve.loads]
    shares = [max(1e3 * figures.late_share, _LOWEST_PER_1000) for figures in curve.loads]
    label = f"{curve.line.schedule}, {curve.line.parts}"
    first_audio.plot(calls, latencies, "o-", color=colour, markersize=3, label=label)
    late.plot(calls, shares, "o-", color=colour, markersize=3)
    for axes, height in ((first_audio, 0.0), (late, _LOWEST_PER_1000)):
        axes.plot(curve.admitted, height, "*", color=colour, markersize=13, clip_on=False)
