"""Draws a dashboard as a picture: every panel at its place, with titles, legends and the thresholds of alarms."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter

from infra.preview.panels import Curve, curves, exporters
from infra.preview.series import Recorded
from infra.preview.template import Widget

_COLUMNS = 24
_COLUMN_INCHES = 0.68
_ROW_INCHES = 0.52
_THIN = 0.45  # how much of its height a row of panels keeps that all have no data
_GAP = 0.06  # in columns and rows, around a panel
_DOTS_PER_INCH = 72
_SMALL, _NORMAL, _TITLE = 7, 8, 9
_LETTERS_PER_COLUMN = 9.5
_BELOW_ZERO = 0.03  # of the axis: a line at zero is to be seen
_LARGE = 100_000
_ENGINEERING = EngFormatter(places=1, sep="")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_NO_DATA = "no data in this recording"


def draw(name: str, widgets: Sequence[Widget], recorded: Recorded, file: Path) -> None:
    """Draw the dashboard of that name into a PNG."""
    picture(widgets, recorded).savefig(file, metadata={"Title": name}, pil_kwargs={"optimize": True})


def picture(widgets: Sequence[Widget], recorded: Recorded) -> Figure:
    """A dashboard. Each panel is two axes: its card, whose label is the panel's title, and what is drawn on it."""
    drawn = [curves(widget, recorded) if widget.kind == "metric" else [] for widget in widgets]
    grid = _Grid([(w, w.kind == "metric" and not lines) for w, lines in zip(widgets, drawn, strict=True)])
    figure = Figure(figsize=(_COLUMNS * _COLUMN_INCHES, grid.inches), dpi=_DOTS_PER_INCH, facecolor="#f2f3f3")
    for widget, lines in zip(widgets, drawn, strict=True):
        card = _card(figure, grid, widget)
        match widget.kind:
            case "text":
                _text(_place(figure, grid, widget), widget)
            case "alarm":
                _alarms(_place(figure, grid, widget), widget)
            case _ if lines:
                _graph(_place(figure, grid, widget), widget, lines, recorded.seconds)
            case _:
                _empty(card, widget)
    return figure


class _Grid:
    """Where panels stand, as parts of the picture. Rows in which no panel has data are thin."""

    def __init__(self, panels: Sequence[tuple[Widget, bool]]) -> None:
        """`panels` are the widgets, each with whether it is empty."""
        heights = np.full(max(widget.y + widget.height for widget, _ in panels), _THIN)
        for widget, empty in panels:
            if not empty:
                heights[widget.y : widget.y + widget.height] = 1.0
        self._tops = np.concatenate(([0.0], np.cumsum(heights)))
        self.inches = float(self._tops[-1]) * _ROW_INCHES

    def inside(
        self, widget: Widget, left: float, right: float, top: float, bottom: float
    ) -> tuple[float, float, float, float]:
        """Left, bottom, width and height of a panel without these margins, which are in columns and rows."""
        above, below = self._tops[widget.y] + top, self._tops[widget.y + widget.height] - bottom
        return (
            (widget.x + left) / _COLUMNS,
            1 - below / self._tops[-1],
            (widget.width - left - right) / _COLUMNS,
            (below - above) / self._tops[-1],
        )


def _card(figure: Figure, grid: _Grid, widget: Widget) -> Axes:
    """The white card that a panel stands on."""
    card = figure.add_axes(grid.inside(widget, _GAP, _GAP, _GAP, _GAP), label=_title(widget))
    card.set(xticks=[], yticks=[])
    for spine in card.spines.values():
        spine.set_color("#d5dbdb")
    return card


def _place(figure: Figure, grid: _Grid, widget: Widget) -> Axes:
    """Room inside the card, with space for a title and labels."""
    if widget.kind == "metric":
        return figure.add_axes(grid.inside(widget, 1.0, 0.8, 0.75, 0.6))
    return figure.add_axes(grid.inside(widget, 0.25, 0.2, 0.75 if widget.kind == "alarm" else 0.2, 0.1))


def _title(widget: Widget) -> str:
    return str(widget.properties.get("title", ""))


def _text(place: Axes, widget: Widget) -> None:
    place.axis("off")
    at = 1.0
    for paragraph in _LINK.sub(r"\1", widget.properties["markdown"].replace("\\", "")).splitlines():
        heading = paragraph.startswith("#")
        lines = textwrap.wrap(paragraph.lstrip("# ").replace("**", ""), int(widget.width * _LETTERS_PER_COLUMN)) or [""]
        size = _TITLE + 2 if heading else _NORMAL
        place.text(0, at, "\n".join(lines), fontsize=size, weight="bold" if heading else "normal", va="top")
        at -= (len(lines) * size * 1.7) / 72 / (widget.height * _ROW_INCHES)


def _alarms(place: Axes, widget: Widget) -> None:
    """Each alarm as a grey field, for only a fleet knows its colour."""
    place.axis("off")
    place.set_title(_title(widget), fontsize=_TITLE, loc="left", weight="bold")
    names = [_short(alarm) for alarm in widget.properties["alarms"]]
    columns = max(1, widget.width // 4)
    rows = max(3, -(-len(names) // columns))
    for number, name in enumerate(names):
        column, row = divmod(number, rows)
        place.text(
            column / columns,
            1 - (row + 0.5) / rows,
            name,
            fontsize=_NORMAL,
            va="center",
            bbox={"facecolor": "#f2f3f3", "edgecolor": "#687078", "boxstyle": "round,pad=0.2", "linewidth": 0.6},
        )


def _graph(place: Axes, widget: Widget, drawn: Sequence[Curve], seconds: float) -> None:
    place.set_title(_title(widget), fontsize=_TITLE, loc="left", weight="bold")
    left = [curve for curve in drawn if not curve.right]
    right = [curve for curve in drawn if curve.right]
    colors = iter(f"C{number}" for number in range(10))
    second = _second_axis(place) if right else None
    handles = _lines(place, left, colors, bool(widget.properties.get("stacked")))
    if second:
        handles += _lines(second, right, colors, False, style="--")
    _thresholds(place, widget)
    axes = widget.properties.get("yAxis", {})
    _axis(place, axes.get("left", {}).get("label", ""), len(handles))
    if second:
        _axis(second, axes.get("right", {}).get("label", ""), len(handles))
    place.set_xlim(0, seconds)
    minutes = np.arange(0, seconds + 1, 120 if seconds > 300 else 60)
    place.set_xticks(minutes, [f"{minute / 60:.0f} min" for minute in minutes])
    place.tick_params(labelsize=_SMALL)
    place.grid(visible=True, color="#eaeded", linewidth=0.6)
    place.legend(
        handles=handles,
        fontsize=_SMALL,
        loc="upper left",
        ncols=2 if len(handles) > 2 else 1,
        frameon=False,
        borderaxespad=0.2,
    )


def _empty(card: Axes, widget: Widget) -> None:
    """In place of a graph: that there is no data, who would have to report it, and from where on an alarm is red."""
    card.set_facecolor("#f8f9f9")
    alarms = [f"{line.get('label', '')} at {_number(line['value'])}" for line in _horizontal(widget)]
    lines = [_NO_DATA, f"it comes from {', '.join(exporters(widget))}", *dict.fromkeys(alarms)]
    letters = int((widget.width - 0.5) * _LETTERS_PER_COLUMN)
    title = textwrap.fill(_title(widget), int(letters * 0.8))  # its letters are larger
    words = "\n".join(textwrap.fill(line, letters) for line in lines)
    card.text(0.5, 0.55, title, fontsize=_TITLE, color="#687078", weight="bold", ha="center", va="bottom")
    card.text(0.5, 0.5, words, fontsize=_NORMAL, color="#687078", ha="center", va="top")


def _second_axis(place: Axes) -> Axes:
    second = place.twinx()
    assert isinstance(second, Axes)
    second.tick_params(labelsize=_SMALL)
    return second


def _lines(place: Axes, drawn: Sequence[Curve], colors: Iterator[str], stacked: bool, style: str = "-") -> list[Artist]:
    if stacked and drawn:
        values = np.array([curve.values for curve in drawn])
        some = ~np.isnan(values).all(axis=0)
        layers = np.nan_to_num(values[:, some])
        return list(
            place.stackplot(drawn[0].seconds[some], layers, labels=[curve.label for curve in drawn], alpha=0.75)
        )
    return [
        place.plot(
            curve.seconds, curve.values, style, color=next(colors), label=curve.label, marker=".", markersize=3, lw=1.2
        )[0]
        for curve in drawn
    ]


def _thresholds(place: Axes, widget: Widget) -> None:
    for annotation in _horizontal(widget):
        place.axhline(annotation["value"], color="#d13212", linewidth=0.9, linestyle=(0, (4, 2)))
        place.text(
            0.995,
            annotation["value"],
            f"{annotation.get('label', '')} ({_number(annotation['value'])})",
            transform=place.get_yaxis_transform(),
            fontsize=_SMALL,
            color="#d13212",
            ha="right",
            va="bottom",
        )


def _horizontal(widget: Widget) -> list[dict[str, Any]]:
    annotations: list[dict[str, Any]] = widget.properties.get("annotations", {}).get("horizontal", [])
    return annotations


def _axis(place: Axes, unit: str, lines: int) -> None:
    """From just below zero up, with room for the legend above."""
    rows = -(-lines // 2) if lines > 2 else lines
    top = place.get_ylim()[1]
    if place.dataLim.y1 <= 0:  # nothing but zeros
        top = 1.0
    top *= 1 + 0.11 * rows
    place.set_ylim(-_BELOW_ZERO * top, top)
    place.set_ylabel(unit, fontsize=_SMALL)
    place.yaxis.set_major_formatter(FuncFormatter(_number))


def _number(value: float, _: object = None) -> str:
    """As it is, or 10.7G for what is large."""
    return f"{value:g}" if abs(value) < _LARGE else _ENGINEERING(value)


def _short(alarm: str) -> str:
    """The alarm's name without the group's."""
    return re.sub(r"^voicefleet-[a-z0-9]+-", "", alarm)
