"""What the benches of nodes share: which node is called, and how, and the progress of it at the terminal."""

import secrets
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from server.access.auth import MAX_TOKEN_SECONDS, mint_token
from server.cli.demo import trusting
from server.cli.serve import fetch_models
from server.client.local_node import running_node
from server.settings.loading import load_settings

Url = Annotated[
    str | None, typer.Argument(help="Where to call; without it, a node of its own is started and measured.")
]
Metrics = Annotated[str | None, typer.Option(help="The node's metrics, such as http://127.0.0.1:9001/metrics.")]
Json = Annotated[Path | None, typer.Option("--json", help="File to write the figures to.", dir_okay=False)]


@dataclass(frozen=True, slots=True)
class Target:
    """A node to be called; with its `metrics` address also what it spends is known."""

    url: str
    key: str | None = None
    tls: ssl.SSLContext | None = None
    metrics: str | None = None


@contextmanager
def target(
    url: str | None,
    key: str | None,
    ca_file: Path | None,
    metrics: str | None,
    calls: int,
    console: Console,
    config: Path | None,
) -> Iterator[Target]:
    """The node at `url`; without one, a node with the settings of this machine and room for so many calls.

    Raises what starting a node raises.
    """
    if url:
        yield Target(url, key, ssl.create_default_context(cafile=ca_file) if url.startswith("wss:") else None, metrics)
        return
    settings = load_settings(config)
    fetch_models(settings, console)
    variables = {
        "VOICE_MAX_SESSIONS": str(max(settings.max_sessions, calls)),
        "VOICE_SESSIONS_PER_TOKEN": "0",  # all calls are one subject's
    }
    own_key = None
    if settings.needs_auth:
        secret = settings.token_secret.get_secret_value() if settings.token_secret else secrets.token_hex(32)
        variables["VOICE_TOKEN_SECRET"] = secret
        own_key = mint_token(secret, "bench", MAX_TOKEN_SECONDS, time.time())
    console.print("starting a node")
    with running_node(variables, config) as node:
        tls = trusting(settings.tls_cert)
        yield Target(node.websocket, own_key, tls, f"{node.http}/metrics")


def progress_bar(console: Console) -> Progress:
    """How much is done, and since when."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )
