"""`voicefleet models`: list, fetch and check the models of this machine."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn
from rich.table import Table

from server.cli.console import FAILED, errors_shown, settings_for_node
from server.models.cancellation import Cancellation
from server.models.catalogue import load_catalogue, required_models
from server.models.errors import ModelError, SeveralFailed
from server.models.sources import Report
from server.models.store import ModelStore, State
from server.settings.loading import load_settings
from server.workers.engine import EngineMissing

app = typer.Typer(
    no_args_is_help=True,
    help="List, fetch and check the models. VOICE_MODEL_DIR, VOICE_MODEL_LOCAL and VOICE_MODEL_S3 say where they lie.",
)
Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME]...", help="Models of the catalogue; by default those that the settings need."),
]


def pull_with_progress(
    store: ModelStore, names: Sequence[str], console: Console, cancellation: Cancellation | None = None
) -> None:
    """Fetch models at once under progress bars, or with a plain line per file where `console` is no terminal.

    Raises what `ModelStore.pull_all` raises; and, when the others are there, what it gives of every model that failed.
    """
    with _progress(console) as report:
        failures = store.pull_all(names, report, cancellation)
    for name in dict.fromkeys(names):
        if name not in failures:
            console.print(f"{name}: {State.READY}", soft_wrap=True)
    if failures:
        errors = list(failures.values())
        raise errors[0] if len(errors) == 1 else SeveralFailed(errors)


@contextmanager
def _progress(console: Console) -> Iterator[Report]:
    if not console.is_terminal:
        announced: set[str] = set()

        def announce(label: str, done: int, total: int | None) -> None:
            if label not in announced:
                announced.add(label)
                console.print(f"fetching {label}" + (f" ({decimal(total)})" if total else ""), soft_wrap=True)

        yield announce
    else:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=console) as progress:
            bars: dict[str, TaskID] = {}

            def advance(label: str, done: int, total: int | None) -> None:
                if label not in bars:
                    bars[label] = progress.add_task(label)
                progress.update(bars[label], completed=done, total=total)

            yield advance


@app.command("list")
def list_models() -> None:
    """Show every model of the catalogue: its purpose, licence and size, and how it stands on this machine."""
    with errors_shown():
        store = ModelStore.from_settings(load_settings())
        table = Table("name", "purpose", "licence", "size", "state", box=None, pad_edge=False)
        for model in load_catalogue().values():
            table.add_row(model.name, model.purpose, model.licence, decimal(model.size), store.status(model.name))
        Console().print(table)


@app.command()
def pull(
    names: Names = None, every: Annotated[bool, typer.Option("--all", help="Every model of the catalogue.")] = False
) -> None:
    """Fetch models and check their hashes; what is there and right stays."""
    with errors_shown():
        store, wanted = _store_and_names(list(load_catalogue()) if every else names)
        pull_with_progress(store, wanted, Console())


@app.command()
def verify(names: Names = None) -> None:
    """Hash every file; exit with 1 when a model is missing or corrupt, and say which."""
    with errors_shown():
        store, wanted = _store_and_names(names)
        faulty = False
        for name in wanted:
            try:
                store.verified(name)
                typer.echo(f"{name}: {State.READY}")
            except ModelError as error:
                faulty = True
                typer.echo(f"{name}: {error}")
        if faulty:
            raise typer.Exit(FAILED)


@app.command("compile")
def compile_pieces() -> None:
    """Compile what VOICE_TTS_COMPILED makes a worker compile, before it starts. TORCHINDUCTOR_CACHE_DIR says where to.

    It takes the device of VOICE_TTS_DEVICE, a C compiler, and no model.
    """
    with errors_shown():
        settings = settings_for_node(None)
        try:
            from server.workers.engines.chatterbox.compile_ahead import compile_ahead  # noqa: PLC0415 # it brings torch
        except ModuleNotFoundError as error:
            raise EngineMissing("chatterbox", error.name) from None
        compile_ahead(settings)


def _store_and_names(names: list[str] | None) -> tuple[ModelStore, list[str]]:
    """The store of the settings, and the names given, all known; none given means those that the settings need."""
    settings = settings_for_node(None, quiet=sys.stderr.isatty())
    store = ModelStore.from_settings(settings)
    return store, [store.model(name).name for name in names or required_models(settings)]
