"""`voicefleet serve`: a node, until it is told to stop.

SIGTERM drains: no new call is taken, those there are may finish. SIGINT, or a second SIGTERM, ends at once.
"""

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer
import uvloop
from rich.console import Console

from server.access.key_secret import with_keys
from server.cli.console import errors_shown, show_addresses
from server.cli.models import pull_with_progress
from server.models.catalogue import required_models
from server.models.store import ModelStore
from server.node.node import Node
from server.observability import logs
from server.observability.systemd import serving_under_systemd
from server.settings.settings import Settings, load_settings

if TYPE_CHECKING:
    from server.fleet.member import FleetMember

Config = Annotated[Path | None, typer.Option(help="TOML file with settings; variables win over it.", dir_okay=False)]
Host = Annotated[str | None, typer.Option(help="Address to listen on [VOICE_HOST, 127.0.0.1].")]
Port = Annotated[int | None, typer.Option(help="WebSocket port, 0 for a free one [VOICE_PORT, 9000].")]
HttpPort = Annotated[
    int | None, typer.Option(help="Port of health and metrics, 0 for a free one [VOICE_HTTP_PORT, 9001].")
]
TlsCert = Annotated[Path | None, typer.Option(help="Certificate chain (PEM): serve wss:// [VOICE_TLS_CERT].")]
TlsKey = Annotated[Path | None, typer.Option(help="Private key (PEM) of the certificate [VOICE_TLS_KEY].")]


def serve(
    host: Host = None,
    port: Port = None,
    http_port: HttpPort = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    config: Config = None,
) -> None:
    """Serve calls until stopped. Models that are missing are fetched first.

    Every setting is a VOICE_* variable or a line of the TOML file; docs/settings.md lists them all.
    """
    with errors_shown():
        settings = settings_for_node(
            config, host=host, port=port, http_port=http_port, tls_cert=tls_cert, tls_key=tls_key
        )
        settings = with_keys(settings)
        if settings.fleet_group:
            uvloop.run(_serve_in_fleet(settings))
        else:
            store = fetch_models(settings, Console(stderr=True))
            uvloop.run(_serve(settings, store))


def settings_for_node(config: Path | None, *, quiet: bool = False, **options: Any) -> Settings:
    """The node's settings, with logs set up as they say; if `quiet`, from warnings up where they say nothing.

    Raises `SettingsError`.
    """
    settings = load_settings(config, **options)
    if quiet and "log_level" not in settings.model_fields_set:
        settings = settings.model_copy(update={"log_level": "warning"})
    logs.configure(settings.log_level)
    return settings


def fetch_models(settings: Settings, console: Console) -> ModelStore:
    """The store, with everything in it that the node needs. Raises `ModelError`."""
    store = ModelStore.from_settings(settings)
    pull_with_progress(store, required_models(settings), console)
    return store


async def _serve_in_fleet(settings: Settings) -> None:
    from server.fleet.member import fleet_member  # noqa: PLC0415  # no other start is to be slowed by it

    async with fleet_member(settings) as member:
        # In a thread, since the group has to hear meanwhile that the instance is still coming.
        store = await asyncio.to_thread(fetch_models, settings, Console(stderr=True))
        await _serve(settings, store, member)


async def _serve(settings: Settings, store: ModelStore, member: "FleetMember | None" = None) -> None:
    stop = Stop()
    async with Node(settings, store).running() as node:
        if member:
            member.serves(node)
        console = Console(stderr=True)
        if console.is_terminal:  # a log reader has the same in the line node_serving
            show_addresses(console, node)
        async with serving_under_systemd():
            await stop.requested(member or node)


class Drainable(Protocol):
    """What SIGTERM drains."""

    async def drain(self) -> None:
        """Let calls finish; returns when the process may end."""
        ...


class Stop:
    """Hears SIGTERM as soon as it is made: one that comes while the node starts is obeyed once it runs."""

    def __init__(self) -> None:
        self._drain, self._now = asyncio.Event(), asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._terminate)

    async def requested(self, node: Drainable) -> None:
        """Wait for a signal, and after SIGTERM for the calls that are in progress."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._now.set)
        waits = [asyncio.create_task(self._now.wait()), asyncio.create_task(self._drained(node))]
        _, left = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in left:
            wait.cancel()

    def _terminate(self) -> None:
        (self._now if self._drain.is_set() else self._drain).set()

    async def _drained(self, node: Drainable) -> None:
        await self._drain.wait()
        await node.drain()
