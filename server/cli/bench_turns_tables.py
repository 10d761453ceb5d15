"""The figures of `voicefleet bench turns` as tables for a person."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from server.bench.load_report import Spread
from server.bench.turns.cases import Kind
from server.bench.turns.report import SoundFigures, TurnFigures, TurnsReport
from server.cli.bench_tables import cpu_of, show_distrust, show_failures

_NAMES = {
    Kind.COMPLETE: "complete",
    Kind.HESITATION: "hesitations",
    Kind.SPELLED: "spelled numbers",
    Kind.LONG: "long speech",
    Kind.NOISE: "noise",
    Kind.BACKCHANNEL: "mhm, okay, right",
    Kind.INTERRUPTION: "interruptions",
    Kind.LATER_NOISE: "noise, later",
    Kind.LATER_BACKCHANNEL: "mhm, later",
    Kind.LATER_INTERRUPTION: "interruptions, later",
    Kind.FAR_VOICE: "far voice after",
}


def show_turns_reports(console: Console, reports: Sequence[TurnsReport]) -> None:
    """Everything that was measured in runs with the same cases, and a warning where it is not to be believed."""
    for report in reports:
        _show_report(console, report)
    _show_curve(console, reports)


def _show_report(console: Console, report: TurnsReport) -> None:
    console.print(f"[bold]{report.turn_detection}, callers at once: {report.calls}[/]", highlight=False)
    _show_turns(console, report.turns)
    _show_sounds(console, report.sounds)
    if report.node:
        console.print(f"CPU s per call s: {cpu_of(report.node)}", highlight=False)
    measured = {figures.kind for figures in report.turns} | {figures.kind for figures in report.sounds}
    if missing := [name for kind, name in _NAMES.items() if kind not in measured]:
        console.print(f"not measured: {', '.join(missing)}")
    if report.not_played:
        console.print(f"[yellow]{report.not_played} cases were not played: the time was over[/]")
    show_failures(console, report.failures)
    if not report.trusted:
        show_distrust(console)


def _show_turns(console: Console, turns: Sequence[TurnFigures]) -> None:
    table = _table(
        "when is a turn over? ms from the last sound sent, of turns that weren't cut",
        *("", "turns\ncut", "pauses\ncut", "talked\nover", "extra\nturns", "no\nanswer"),
        *("end told\np50 / p90", "heard\np50 / p90"),
    )
    for figures in turns:
        table.add_row(
            _NAMES[figures.kind],
            *(f"{figures.split} of {figures.turns}", f"{figures.pauses_cut} of {figures.pauses}"),
            *(str(figures.talked_over), str(figures.extra_turns), str(figures.unanswered)),
            *(_quantiles(figures.noticed), _quantiles(figures.answered)),
        )
    console.print(table)


def _show_sounds(console: Console, sounds: Sequence[SoundFigures]) -> None:
    table = _table(
        "who may interrupt an answer? ms from the first sound until it stopped",
        *("", "sounds", "stopped\nit", "answered", "ignored", "too\nshort", "wrong", "after\np50 / p90"),
    )
    for figures in sounds:
        counts = figures.sounds, figures.stopped, figures.answered, figures.ignored, figures.too_short, figures.wrong
        table.add_row(_NAMES[figures.kind], *map(str, counts), _quantiles(figures.reaction))
    console.print(table)
    if any(figures.too_short for figures in sounds):
        console.print('"too short": the answer was over before the sound was; take a model that answers at length')


def _show_curve(console: Console, reports: Sequence[TurnsReport]) -> None:
    points = {report.turn_detection: report.point for report in reports if report.point}
    if not points:
        return
    table = _table(
        "false cut-offs against delay, all pauses and all ends", "rule", "pauses cut, %", "end told, ms, mean"
    )
    for detection, point in points.items():
        table.add_row(f"[bold]this node, {detection}[/]", f"{point.cut_offs:.1f}", f"{point.delay_ms:.0f}")
    for silence in reports[0].plain_silence:
        rule = f"silence of {silence.silence_ms / 1000:g} s"
        table.add_row(rule, f"{silence.point.cut_offs:.1f}", f"{silence.point.delay_ms:.0f}")
    console.print(table)


def _table(title: str, *headers: str) -> Table:
    """One that fits a terminal of 80 columns."""
    table = Table(*headers, title=title, title_justify="left", title_style="bold", box=None, padding=(0, 1, 0, 0))
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _quantiles(spread: Spread | None) -> str:
    return f"{spread.p50:.0f} / {spread.p90:.0f}" if spread else ""
