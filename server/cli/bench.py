"""`voicefleet bench`: many callers at once, and how soon each hears its answers."""

import json
from collections.abc import Sequence
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer
import uvloop
from rich.console import Console

from server.bench.load import Clip, Load, run_load
from server.bench.load_report import LoadReport, report
from server.bench.node_usage import sample, usage
from server.cli.bench_node import Json, Metrics, Target, Url, progress_bar, target
from server.cli.bench_tables import show_report
from server.cli.call import CaFile, Key
from server.cli.console import FAILED, errors_shown
from server.cli.demo import QUESTION
from server.cli.serve import Config
from server.client.caller import call, speech_from

Calls = Annotated[int, typer.Option(min=1, help="Callers at once.")]
Turns = Annotated[int, typer.Option(min=1, help="Turns of each caller.")]
Seconds = Annotated[float, typer.Option(min=1, help="No turn begins after so many seconds.")]
Wavs = Annotated[
    list[Path] | None, typer.Option("--wav", help="What to say, in turn; may be repeated.", exists=True, dir_okay=False)
]
Texts = Annotated[
    Path | None,
    typer.Option(
        help='What is said: JSON, a list of {"path": WAV file beside it, "text": words}. Without --wav, all are said.',
        exists=True,
        dir_okay=False,
    ),
]
Detection = Annotated[
    Literal["server_vad", "semantic_vad"] | None, typer.Option(help="How turns end; the node's own way if not given.")
]


def bench(
    url: Url = None,
    calls: Calls = 4,
    turns: Turns = 5,
    seconds: Seconds = 600.0,
    wav: Wavs = None,
    texts: Texts = None,
    turn_detection: Detection = None,
    key: Key = None,
    ca_file: CaFile = None,
    metrics: Metrics = None,
    save: Json = None,
    config: Config = None,
) -> None:
    """Hold conversations with a node, paced in real time, and print how soon and how well it answers.

    Exits with 1 when a call failed or a turn got no answer.
    """
    console = Console()
    with errors_shown():
        clips = clips_from(wav or [], texts)
        load = Load(calls, turns, seconds)
        with target(url, key, ca_file, metrics, load.calls, console, config) as node:
            detection = {"type": turn_detection} if turn_detection else None
            figures = measure(node, clips, load, console, detection)
    show_report(console, figures)
    if save:
        save.write_bytes(msgspec.json.format(msgspec.json.encode(figures)))
    if figures.failures or figures.unanswered:
        raise typer.Exit(FAILED)


def measure(
    node: Target,
    clips: Sequence[Clip],
    load: Load,
    console: Console,
    turn_detection: dict[str, Any] | None = None,
) -> LoadReport:
    """Put the load on a node; `turn_detection` is the sessions', by default the node's own.

    Raises `MetricsUnavailable`; a call that fails is part of the figures.
    """
    before = sample(node.metrics) if node.metrics else None
    with progress_bar(console) as progress:
        bar = progress.add_task(f"{load.calls} calls, turns", total=load.calls * load.turns)
        place = partial(call, node.url, node.key, tls=node.tls, turn_detection=turn_detection)
        result = uvloop.run(run_load(place, clips, load, partial(progress.advance, bar)))
    spent = usage(before, sample(node.metrics), result.call_seconds) if node.metrics and before else None
    return report(result, spent)


def clips_from(wavs: Sequence[Path], texts: Path | None = None) -> list[Clip]:
    """What callers say: the files named, else all in the list `texts`, else the demo's question. Raises `WavError`."""
    known = {}
    if texts:
        known = {texts.parent / entry["path"]: entry["text"] for entry in json.loads(texts.read_text("utf-8"))}
    if paths := wavs or [path for path in known if path.suffix == ".wav"]:
        return [Clip(speech_from(path), known.get(path)) for path in paths]
    with as_file(files("server.demo") / "question.wav") as question:
        return [Clip(speech_from(question), QUESTION)]
