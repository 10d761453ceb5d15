"""`voicefleet bench turns`: whether a node hears the end of a turn, and who may interrupt it."""

from collections.abc import Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer
import uvloop
from rich.console import Console

from server.bench.node_usage import sample, usage
from server.bench.turns.cases import UTTERANCES, Case, all_cases, introduction
from server.bench.turns.plain_silence import silence_points, voice_activity
from server.bench.turns.play import Script, play
from server.bench.turns.plot import draw, earlier_runs, require_matplotlib
from server.bench.turns.recordings import read_recordings
from server.bench.turns.report import SilencePoint, TurnsReport, report
from server.bench.turns.spoken import spoken
from server.cli.bench_node import Json, Metrics, Target, Url, progress_bar, target
from server.cli.bench_turns_tables import show_turns_reports
from server.cli.call import CaFile, Key
from server.cli.console import FAILED, errors_shown
from server.cli.models import pull_with_progress
from server.cli.serve import Config
from server.client.caller import call
from server.models.store import ModelStore
from server.settings.loading import load_settings

_VAD, _VOICE = "silero-vad", "hibari-heart"


class EagernessName(StrEnum):
    """What can be asked for; typer takes no list of literals."""

    AUTO = "auto"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


Calls = Annotated[int, typer.Option(min=1, help="Callers at once, who share the cases out among themselves.")]
Cases = Annotated[int, typer.Option(min=1, help="Hesitations to play; of all other kinds in proportion.")]
Seconds = Annotated[float, typer.Option(min=1, help="No case begins after so many seconds.")]
RecordingsFolder = Annotated[
    Path,
    typer.Option(
        "--recordings",
        help="Folder of WAV files, each with its words in a .txt of the same name or in a manifest.json; a digit alone "
        "is part of a spelled number. Recorded noise lies in a folder `noise` in it.",
        exists=True,
        file_okay=False,
    ),
]
Detection = Annotated[Literal["semantic_vad", "server_vad"], typer.Option(help="As in the session.")]
Eagerness = Annotated[
    list[EagernessName] | None,
    typer.Option(help="Of semantic_vad; auto if not given. May be repeated: each plays all cases, and is a point."),
]
SilenceMs = Annotated[int | None, typer.Option(min=0, max=60_000, help="Of server_vad; 500 if not given.")]
Plot = Annotated[
    Path | None,
    typer.Option("--plot", help="PNG file for false cut-offs against delay (needs matplotlib).", dir_okay=False),
]
Beside = Annotated[
    list[Path] | None,
    typer.Option(
        help="Figures of an earlier run (a file from --json), for the picture as well; may be repeated.",
        exists=True,
        dir_okay=False,
    ),
]


def turns(
    url: Url = None,
    calls: Calls = 1,
    turn_detection: Detection = "semantic_vad",
    eagerness: Eagerness = None,
    silence_ms: SilenceMs = None,
    recordings: RecordingsFolder = Path("tests/audio"),
    cases: Cases = 16,
    seconds: Seconds = 900.0,
    key: Key = None,
    ca_file: CaFile = None,
    save: Json = None,
    plot: Plot = None,
    beside: Beside = None,
    metrics: Metrics = None,
    config: Config = None,
) -> None:
    """Measure turn-taking: utterances that end, hesitate, spell or go on, and noise, "mhm" and interruptions.

    By default from this repository's recordings, for which one caller takes about nine minutes. Exits with 1 when a
    call failed or a turn got no answer.
    """
    console = Console()
    detections = _turn_detections(turn_detection, eagerness or [], silence_ms)
    with errors_shown():
        if plot:
            require_matplotlib()
        earlier = [run for path in beside or () for run in earlier_runs(path)]
        found = read_recordings(recordings)
        store = ModelStore.from_settings(load_settings(config))
        pull_with_progress(store, [_VAD, _VOICE], console)
        to_play = all_cases(found, uvloop.run(spoken(store.verified(_VOICE) / "hibari.onnx")), cases)
        if found.left_out:
            console.print(f"left out for their length: {', '.join(found.left_out)}", highlight=False)
        silence = _plain_silence(to_play, store.verified(_VAD) / "silero_vad.onnx")
        with target(url, key, ca_file, metrics, calls, console, config) as node:
            script = Script(to_play, introduction(found), calls, seconds)
            reports = [_measure(node, script, detection, silence, console) for detection in detections]
        show_turns_reports(console, reports)
        if save:
            save.write_bytes(msgspec.json.format(msgspec.json.encode(reports)))
        if plot:
            draw(reports, plot, earlier)
    if any(report.failures or report.unanswered for report in reports):
        raise typer.Exit(FAILED)


def _turn_detections(kind: str, eagerness: Sequence[EagernessName], silence_ms: int | None) -> list[dict[str, Any]]:
    if kind == "server_vad":
        if eagerness:
            raise typer.BadParameter("--eagerness is for --turn-detection semantic_vad; server_vad takes --silence-ms")
        return [{"type": kind, "silence_duration_ms": 500 if silence_ms is None else silence_ms}]
    if silence_ms is not None:
        raise typer.BadParameter("--silence-ms is for --turn-detection server_vad; semantic_vad takes --eagerness")
    return [{"type": kind, "eagerness": one} for one in eagerness or [EagernessName.AUTO]]


def _measure(
    node: Target, script: Script, detection: dict[str, Any], silence: Sequence[SilencePoint], console: Console
) -> TurnsReport:
    named = " ".join(str(value) for value in detection.values())
    before = sample(node.metrics) if node.metrics else None
    with progress_bar(console) as progress:
        bar = progress.add_task(f"{named}, {script.calls} calls, cases", total=len(script.cases))
        place = partial(call, node.url, node.key, tls=node.tls, turn_detection=detection)
        played = uvloop.run(play(place, script, partial(progress.advance, bar)))
    spent = usage(before, sample(node.metrics), played.call_seconds) if node.metrics and before else None
    return report(named, script.calls, played, silence, spent)


def _plain_silence(cases: Sequence[Case], vad: Path) -> list[SilencePoint]:
    utterances = [case for case in cases if case.kind in UTTERANCES]
    return silence_points(utterances, uvloop.run(voice_activity(vad, utterances)))
