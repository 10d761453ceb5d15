"""The figures of `voicefleet bench` as tables for a person."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from server.bench.load_report import TRUSTED_LAG_MS, LoadReport, Spread
from server.bench.node_usage import NodeUsage

_STAGES = {
    "endpointing": "end of turn",
    "stt": "transcript",
    "llm_first_token": "first LLM token",
    "llm_first_clause": "first clause",
    "tts_first_audio": "first audio",
}


def show_report(console: Console, report: LoadReport) -> None:
    """Everything that was measured, and a warning where it is not to be believed."""
    _show_spreads(
        console,
        "from the end of speech to the first sound of the answer, ms",
        {
            "voice to voice": report.voice_to_voice,
            "without the LLM's first token": report.without_first_token,
            "without the LLM's first clause": report.without_model,
        },
    )
    stages = {label: report.stages.get(stage) for stage, label in _STAGES.items()}
    _show_spreads(console, "of it, each stage's own time, ms", {**stages, "beside the waterfall": report.beside})
    _show_spreads(
        console,
        "punctuality, ms",
        {"answers' frames late": report.frame_lateness, "callers' own lag": report.caller_lag},
    )
    _show_counts(console, report)
    if not report.trusted:
        show_distrust(console)


def show_failures(console: Console, failures: Sequence[str]) -> None:
    """Why calls failed, each reason once."""
    for failure in sorted(set(failures)):
        console.print(f"[red]{failures.count(failure)} x {failure}[/]", highlight=False)


def show_distrust(console: Console) -> None:
    """That the callers were too late to measure anyone."""
    console.print(
        f"[bold red]The callers themselves were more than {TRUSTED_LAG_MS:g} ms late: this machine is too busy to "
        "measure the node. Don't trust these figures; call from elsewhere, or with fewer callers.[/]"
    )


def cpu_of(node: NodeUsage) -> str:
    """CPU seconds per second of call, in all and of each part."""
    gateway, vad, smart_turn, stt, tts = (
        node.cpu.get(part, 0.0) for part in ("gateway", "vad", "smart_turn", "stt", "tts")
    )
    return (
        f"{gateway + node.workers_cpu:.4f}: gateway {gateway:.4f} (VAD {vad:.4f}, smart-turn {smart_turn:.4f}), "
        f"recognition {stt:.4f}, voice {tts:.4f}"
    )


def _show_spreads(console: Console, title: str, spreads: Mapping[str, Spread | None]) -> None:
    table = Table("", "n", "p50", "p90", "p99", "max", title=title, title_justify="left", title_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    for label, spread in spreads.items():
        cells = [f"{figure:.1f}" for figure in (spread.p50, spread.p90, spread.p99, spread.max)] if spread else []
        table.add_row(label, str(spread.count if spread else 0), *cells)
    console.print(table)


def _show_counts(console: Console, report: LoadReport) -> None:
    rows = {
        "turns": f"{report.turns}, {report.unanswered} without an answer",
        "calls failed": f"{len(report.failures)}, {report.refused} of them refused",
        "answers begun too soon": f"{report.cut_off}",
        "underruns": f"{report.underruns}",
        "call seconds": f"{report.call_seconds:.1f}",
    }
    if report.silence_ms is not None:
        rows["silence that ends a turn"] = f"{report.silence_ms:.0f} ms"
        if report.without_first_token:
            rows["beyond silence and first token"] = (
                f"p50 {report.without_first_token.p50 - report.silence_ms:.0f} ms, "
                f"p90 {report.without_first_token.p90 - report.silence_ms:.0f} ms"
            )
    if report.words:
        rows["words misheard"] = f"{report.word_errors} of {report.words}, {report.word_errors / report.words:.1%}"
    if report.node:
        rows["CPU s per call s"] = cpu_of(report.node)
        rows["memory"] = f"gateway {report.node.gateway_mib:.0f} MiB, workers {report.node.workers_mib:.0f} MiB"
        rows["node's frame lateness"] = (
            f"p50 {_ms(report.node.frame_lateness_p50_ms)}, p99 {_ms(report.node.frame_lateness_p99_ms)}"
        )
        rows["node's event loop lag"] = f"p99 {_ms(report.node.loop_lag_p99_ms)}"
    table = Table(show_header=False)
    for label, text in rows.items():
        table.add_row(label, text)
    console.print(table)
    show_failures(console, report.failures)


def _ms(value: float | None) -> str:
    return "none" if value is None else f"{value:.1f} ms"
