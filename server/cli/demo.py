"""`voicefleet demo`: a whole node and a first call to it, in one command."""

import secrets
import ssl
import time
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from pydantic import SecretStr
from rich.console import Console

from server.access.auth import mint_token
from server.cli.call import save_answers
from server.cli.console import FAILED, errors_shown, settings_for_node, show_addresses, show_turn
from server.cli.preflight import check_ports
from server.cli.serve import Config, HttpPort, Port, fetch_models, until_stopped
from server.client.caller import Turn, call, speech_from
from server.models.store import ModelStore
from server.node.node import Node
from server.settings.settings import Settings

QUESTION = "what is the capital city of france"
_Wav = Annotated[Path, typer.Option(help="WAV file to save the answer to.", dir_okay=False)]
_Once = Annotated[
    bool, typer.Option("--once", help="Exit after the call: 0 if the transcript is right and the answer audible.")
]


def demo(
    once: _Once = False,
    save: _Wav = Path("answer.wav"),
    port: Port = None,
    http_port: HttpPort = None,
    config: Config = None,
) -> None:
    """Fetch the models, start a node, ask it a spoken question through its WebSocket, and go on serving."""
    console = Console()
    with errors_shown():
        settings = settings_for_node(config, quiet=True, port=port, http_port=http_port)
        check_ports(settings)
        store = fetch_models(settings, console)
        turn = uvloop.run(_demo(settings, store, console, save, once))
    if once and not succeeded(turn):
        raise typer.Exit(FAILED)


def succeeded(turn: Turn) -> bool:
    """Whether the node understood the bundled question and answered aloud."""
    words = "".join(letter for letter in turn.heard.lower() if letter.isalpha() or letter == " ")
    return words.strip() == QUESTION and turn.status == "completed" and turn.voice_to_voice is not None


async def _demo(settings: Settings, store: ModelStore, console: Console, save: Path, once: bool) -> Turn:
    # A key is kept as a hash only; where callers need one, the demo calls with a token of its own making.
    secret = settings.token_secret or SecretStr(secrets.token_hex(32))
    if settings.needs_auth:
        settings = settings.model_copy(update={"token_secret": secret})
    key = mint_token(secret.get_secret_value(), "demo", 600, time.time()) if settings.needs_auth else None
    console.print("starting the node: speech recognition, language model, voice")
    async with Node(settings, store).running() as node:
        with as_file(files("server.demo") / "question.wav") as wav:
            question = speech_from(wav)
        console.print(f"calling {node.websocket} with a spoken question")
        async with call(node.websocket, key, tls=trusting(settings.tls_cert)) as caller:
            turn = await caller.say(question)
        show_turn(console, turn)
        save_answers(save, [turn])
        console.print(f"[bold]saved[/]     the answer, as {save}", highlight=False)
        if not once:
            console.print("[bold]serving[/]   until Ctrl-C")
            show_addresses(console, node)
            await until_stopped(node)
        return turn


def trusting(certificate: Path | None) -> ssl.SSLContext | None:
    """A context for a call to this very machine, whose name the certificate need not bear."""
    if certificate is None:
        return None
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    return context
