"""What all commands share at the terminal: errors as one line and an exit status, a turn as a picture."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from server.cli.stopping import ended_by_signals
from server.client.caller import Turn
from server.client.line import Change, Lost, WentOn
from server.errors import VoicefleetError
from server.models.errors import UnknownModel
from server.node.node import Node
from server.observability import logs
from server.settings.loading import SettingsError, load_settings
from server.settings.settings import Settings
from server.talk.page import PATH as TALK_PATH

FAILED, MISUSED = 1, 2
_BAR_WIDTH = 40
_STAGES = {
    "endpointing": "end of turn",
    "stt": "transcript",
    "llm_first_token": "first LLM token",
    "llm_first_clause": "first clause",
    "tts_first_audio": "first audio",
}


@contextmanager
def errors_shown(*, serves: bool = False) -> Iterator[None]:
    """Show what goes wrong as a message on stderr: exit status 2 for a wrong setting or name, 1 for all else.

    SIGTERM and SIGINT end the command, which `serves` until then or not, as `ended_by_signals` says.
    """
    try:
        with ended_by_signals(serves=serves):
            yield
    except (VoicefleetError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(MISUSED if isinstance(error, SettingsError | UnknownModel) else FAILED) from None


def settings_for_node(config: Path | None, *, quiet: bool = False, **options: Any) -> Settings:
    """The node's settings, with logs set up as they say; if `quiet`, from warnings up where they say nothing.

    Raises `SettingsError`.
    """
    settings = load_settings(config, **options)
    if quiet and "log_level" not in settings.model_fields_set:
        settings = settings.model_copy(update={"log_level": "warning"})
    logs.configure(settings.log_level)
    return settings


def show_turn(console: Console, turn: Turn) -> None:
    """What was heard, what was answered, and the waterfall of how long it took, in ms from the end of speech."""
    console.print(f"[bold]heard[/]     {escape(turn.heard) or '(nothing)'}", highlight=False)
    console.print(f"[bold]answered[/]  {escape(turn.answered or turn.error) or '(nothing)'}", highlight=False)
    if not turn.stages_ms:
        return
    total = max(turn.stages_ms.values())
    console.print("[bold]waterfall[/] ms from the end of speech")
    reached = 0.0
    for stage, at in sorted(turn.stages_ms.items(), key=lambda mark: mark[1]):
        start, end = (round(_BAR_WIDTH * ms / total) for ms in (reached, at))
        bar = Text(" " * start + "━" * max(1, end - start), style="cyan")
        console.print(Text(f"  {_STAGES[stage]:<16}{at:7.0f}  "), bar, sep="")
        reached = max(reached, at)
    if turn.voice_to_voice is not None:
        console.print(f"  heard by the caller after {turn.voice_to_voice * 1000:.0f} ms", highlight=False)


def show_change(console: Console, change: Change) -> None:
    """What became of a call's connection."""
    match change:
        case Lost(reason):
            console.print(f"[bold]lost[/]      the connection: {escape(reason)}", highlight=False)
        case WentOn(because, seconds, again):
            how = "resumed" if because == "lost" else "moved"
            said = f"{again:.1f} s of your audio are sent again"
            console.print(f"[bold]{how:<9}[/] on another connection within {seconds:.2f} s; {said}", highlight=False)


def show_addresses(console: Console, node: Node) -> None:
    """Where a running node can be reached."""
    console.print(
        f"  calls    {node.websocket}\n  health   {node.http}/health\n"
        f"  ready    {node.http}/ready\n  metrics  {node.http}/metrics\n"
        f"  talk     {node.http}{TALK_PATH}  in a browser, with a microphone",
        highlight=False,
    )
