"""`voicefleet serve`: a node, until it is told to stop.

SIGTERM drains: no new call is taken, those there are may finish. SIGINT, or a second SIGTERM, ends at once. While the
node starts there are no calls, and the first signal, whichever it is, ends the start.
"""

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer
import uvloop
from rich.console import Console

from server.access.key_secret import with_keys
from server.cli.console import errors_shown, settings_for_node, show_addresses
from server.cli.models import pull_with_progress
from server.cli.preflight import check_ports, preflight
from server.models.cancellation import Cancellation
from server.models.catalogue import required_models
from server.models.store import ModelStore
from server.node.node import Node
from server.observability.systemd import serving_under_systemd
from server.settings.settings import Settings
from server.workers.serving import in_own_thread

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
    with errors_shown(serves=True):
        settings = settings_for_node(
            config, host=host, port=port, http_port=http_port, tls_cert=tls_cert, tls_key=tls_key
        )
        settings = with_keys(settings)
        check_ports(settings)
        if settings.fleet_group:
            uvloop.run(_serve_in_fleet(settings))
        else:
            store = fetch_models(settings, Console(stderr=True))
            uvloop.run(_serve(settings, store))


def fetch_models(settings: Settings, console: Console, cancellation: Cancellation | None = None) -> ModelStore:
    """The store, with everything in it that the node needs.

    Raises `SettingsError` before anything is fetched, for what can be known by then, and `ModelError`.
    """
    preflight(settings)
    store = ModelStore.from_settings(settings)
    pull_with_progress(store, required_models(settings), console, cancellation)
    return store


async def _serve_in_fleet(settings: Settings) -> None:
    from server.fleet.member import fleet_member  # noqa: PLC0415  # no other start is to be slowed by it

    async with fleet_member(settings) as member:
        try:
            await _serve(settings, await _fetch_meanwhile(settings), member)
        except asyncio.CancelledError:  # told to end while it started: there are no calls, but the group may be owed
            if member:
                await member.drain()
            raise


async def _fetch_meanwhile(settings: Settings) -> ModelStore:
    """In a thread, since the group has to hear in the meantime that the instance is still coming."""
    cancellation = Cancellation()
    try:
        return await in_own_thread(fetch_models, settings, Console(stderr=True), cancellation)
    finally:
        cancellation.cancel()


async def _serve(settings: Settings, store: ModelStore, member: "FleetMember | None" = None) -> None:
    async with Node(settings, store).running() as node:
        if member:
            member.serves(node)
        console = Console(stderr=True)
        if console.is_terminal:  # a log reader has the same in the line node_serving
            show_addresses(console, node)
        async with serving_under_systemd():
            await until_stopped(member or node)


class Drainable(Protocol):
    """What SIGTERM drains."""

    async def drain(self) -> None:
        """Let calls finish; returns when the process may end."""
        ...


async def until_stopped(node: Drainable) -> None:
    """Wait for a signal, and after SIGTERM for the calls that are in progress."""
    drain, now = asyncio.Event(), asyncio.Event()

    def terminate() -> None:
        (now if drain.is_set() else drain).set()

    async def drained() -> None:
        await drain.wait()
        await node.drain()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, terminate)
    loop.add_signal_handler(signal.SIGINT, now.set)
    waits = [asyncio.create_task(now.wait()), asyncio.create_task(drained())]
    _, left = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in left:
        wait.cancel()
