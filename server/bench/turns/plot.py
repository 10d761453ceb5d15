"""The picture of a turn-taking benchmark: false cut-offs against delay, this node beside plain silence and the peers.

It needs matplotlib, which a node has not: it is looked for before anything is measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from server.bench.turns.report import Point, TurnsReport
from server.errors import VoicefleetError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LONGEST_MS = 1750.0
_COLOURS = ("tab:red", "tab:green", "tab:orange", "tab:purple", "tab:brown")
_AT_MS, _AT_CUT_OFFS = 300.0, 5.0


class Published(NamedTuple):
    """What a peer publishes: false cut-offs in per cent at 300 ms, where it does, and the delay in ms at 5 %."""

    name: str
    cut_offs: float | None
    delay_ms: float


_SOURCE = "livekit/eot-bench, November 2026"
PUBLISHED = (
    Published("LiveKit v1", 9.9, 543.0),
    Published("Baton", 12.3, 577.0),
    Published("Deepgram Flux", 12.9, 1151.0),
    Published("Smart Turn 3.2", 35.2, 1051.0),
    Published("VAD silence", 55.6, 1600.0),
    Published("GPT Realtime 2", None, 1143.0),
)


class FiguresUnreadable(VoicefleetError):
    """A file holds no figures of this benchmark."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: holds no figures; takes a file that `voicefleet bench turns --json` wrote")


@dataclass(frozen=True, slots=True)
class Run:
    """What the picture shows of a run; see `TurnsReport`."""

    turn_detection: str
    calls: int
    point: Point | None


class PlotUnavailable(VoicefleetError):
    """matplotlib is not installed."""

    def __init__(self) -> None:
        super().__init__("a picture needs matplotlib, which is not installed here: pip install matplotlib")


def require_matplotlib() -> None:
    """Raises `PlotUnavailable` where no picture could be drawn."""
    if find_spec("matplotlib") is None:
        raise PlotUnavailable


def earlier_runs(path: Path) -> list[Run]:
    """The runs whose figures are in a file. Raises `FiguresUnreadable` and `OSError`."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Run])
    except msgspec.DecodeError:
        raise FiguresUnreadable(path) from None


def draw(reports: Sequence[TurnsReport], path: Path, beside: Sequence[Run] = ()) -> None:
    """Write the picture of runs with the same utterances as a PNG file, with the points of other runs in it."""
    from matplotlib.figure import Figure  # noqa: PLC0415  # see above

    figure = Figure(figsize=(9.0, 5.5), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    _draw_published(axes, PUBLISHED)
    if reports[0].plain_silence:
        _draw_plain_silence(axes, reports[0])
    points = [report.point for report in reports if report.point]
    axes.plot([point.delay_ms for point in points], [point.cut_offs for point in points], "-", color=_COLOURS[0])
    own = [Run(report.turn_detection, report.calls, report.point) for report in reports]
    for run, colour in zip((*own, *beside), cycle(_COLOURS)):
        if run.point:
            label = f"this node, {run.turn_detection}, callers at once: {run.calls}"
            axes.plot(run.point.delay_ms, run.point.cut_offs, "*", color=colour, markersize=16, label=label)
    axes.set_xlabel("from the end of speech to the end of the turn, ms, mean")
    axes.set_ylabel("pauses in which the turn was ended, %")
    axes.set_xlim(0.0, _LONGEST_MS)
    axes.set_ylim(bottom=0.0)
    axes.grid(alpha=0.3)
    axes.set_title("When is a turn over? Lower and further left is better")
    axes.legend(fontsize=8, loc="upper right")
    figure.savefig(path)


def _draw_plain_silence(axes: "Axes", report: TurnsReport) -> None:
    points = [(silence.silence_ms, silence.point) for silence in report.plain_silence]
    delays, cut_offs = [point.delay_ms for _, point in points], [point.cut_offs for _, point in points]
    axes.plot(delays, cut_offs, "o-", color="tab:blue", label="plain silence of 0.3 to 1.5 s, same audio")
    for silence_ms, point in points:
        text = f"{silence_ms / 1000:g} s"
        where = point.delay_ms, point.cut_offs
        axes.annotate(text, where, (4, 5), textcoords="offset points", fontsize=8, annotation_clip=True)


def _draw_published(axes: "Axes", peers: Sequence[Published]) -> None:
    for peer in peers:
        delays = [peer.delay_ms] if peer.cut_offs is None else [_AT_MS, peer.delay_ms]
        cut_offs = [_AT_CUT_OFFS] if peer.cut_offs is None else [peer.cut_offs, _AT_CUT_OFFS]
        axes.plot(delays, cut_offs, "s:", color="0.55", markersize=4, linewidth=1.0)
        # Two of them lie in one place.
        offset, rotation = ((0, 6), 55.0) if len(delays) > 1 else ((-30, -14), 0.0)
        where = delays[-1], cut_offs[-1]
        axes.annotate(peer.name, where, offset, textcoords="offset points", fontsize=7, color="0.35", rotation=rotation)
    axes.plot([], [], "s:", color="0.55", markersize=4, label=f"published by them, measured on other data ({_SOURCE})")
