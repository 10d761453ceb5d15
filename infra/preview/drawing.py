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
_DOTS_PER_INCH = 72
_SMALL, _NORMAL, _TITLE = 7, 8, 9
_LETTERS_PER_COLUMN = 9.5
_LARGE = 100_000
_ENGINEERING = EngFormatter(places=1, sep="")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


def draw(name: str, widgets: Sequence[Widget], recorded: Recorded, file: Path) -> None:
    """Draw the dashboard of that name into a PNG."""
    rows = max(widget.y + widget.height for widget in widgets)
    figure = Figure(figsize=(_COLUMNS * _COLUMN_INCHES, rows * _ROW_INCHES), dpi=_DOTS_PER_INCH, facecolor="#f2f3f3")
    for widget in widgets:
        _panel(figure, widget, rows)
        place = _place(figure, widget, rows)
        match widget.kind:
            case "text":
                _text(place, widget)
            case "alarm":
                _alarms(place, widget)
            case _:
                _graph(place, widget, recorded)
    figure.savefig(file, metadata={"Title": name}, pil_kwargs={"optimize": True})


def _panel(figure: Figure, widget: Widget, rows: int) -> None:
    """The white card that a panel stands on."""
    gap = 0.06
    card = figure.add_axes(
        (
            (widget.x + gap) / _COLUMNS,
            1 - (widget.y + widget.height - gap) / rows,
            (widget.width - 2 * gap) / _COLUMNS,
            (widget.height - 2 * gap) / rows,
        )
    )
    card.set(xticks=[], yticks=[])
    for spine in card.spines.values():
        spine.set_color("#d5dbdb")


def _place(figure: Figure, widget: Widget, rows: int) -> Axes:
    """Room inside the card, with space for a title and labels."""
    left, right, top, bottom = (1.0, 0.8, 0.75, 0.6) if widget.kind == "metric" else (0.25, 0.2, 0.2, 0.1)
    if widget.kind == "alarm":
        top = 0.75
    return figure.add_axes(
        (
            (widget.x + left) / _COLUMNS,
            1 - (widget.y + widget.height - bottom) / rows,
            (widget.width - left - right) / _COLUMNS,
            (widget.height - top - bottom) / rows,
        )
    )


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
    place.set_title(widget.properties.get("title", ""), fontsize=_TITLE, loc="left", weight="bold")
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


def _graph(place: Axes, widget: Widget, recorded: Recorded) -> None:
    place.set_title(widget.properties.get("title", ""), fontsize=_TITLE, loc="left", weight="bold")
    drawn = curves(widget, recorded)
    if not drawn:
        _empty(place, widget)
        return
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
    place.set_xlim(0, recorded.seconds)
    minutes = np.arange(0, recorded.seconds + 1, 120 if recorded.seconds > 300 else 60)
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


def _empty(place: Axes, widget: Widget) -> None:
    """The thresholds, and who would have to report."""
    highest = max((line["value"] for line in _horizontal(widget)), default=1.0)
    place.set(xticks=[], ylim=(0, highest * 1.25))
    place.set_ylabel(widget.properties.get("yAxis", {}).get("left", {}).get("label", ""), fontsize=_SMALL)
    place.yaxis.set_major_formatter(FuncFormatter(_number))
    place.tick_params(labelsize=_SMALL)
    _thresholds(place, widget)
    words = "nothing recorded here\nwould come from " + ", ".join(exporters(widget))
    place.text(0.5, 0.45, words, transform=place.transAxes, fontsize=_NORMAL, color="#687078", ha="center", va="center")


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
    """From zero up, with room for the legend above."""
    rows = -(-lines // 2) if lines > 2 else lines
    top = place.get_ylim()[1]
    if place.dataLim.y1 <= 0:  # nothing but zeros
        top = 1.0
    place.set_ylim(0, top * (1 + 0.11 * rows))
    place.set_ylabel(unit, fontsize=_SMALL)
    place.yaxis.set_major_formatter(FuncFormatter(_number))


def _number(value: float, _: object = None) -> str:
    """As it is, or 10.7G for what is large."""
    return f"{value:g}" if abs(value) < _LARGE else _ENGINEERING(value)


def _short(alarm: str) -> str:
    """The alarm's name without the group's."""
    return re.sub(r"^voicefleet-[a-z0-9]+-", "", alarm)
