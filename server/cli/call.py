"""`voicefleet call`: places a call from a WAV file and prints the conversation."""

import asyncio
import ssl
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from server.audio.wav import write_wav
from server.cli.console import FAILED, errors_shown, show_turn
from server.cli.telephone import converse_by_telephone
from server.client.caller import Speech, Turn, speech_from
from server.client.caller import call as place_call

Url = Annotated[str, typer.Argument(help="Where to call, such as ws://127.0.0.1:9000/v1/realtime.")]
Wavs = Annotated[
    list[Path], typer.Option("--wav", help="What to say; more than one is a turn each.", exists=True, dir_okay=False)
]
Key = Annotated[str | None, typer.Option(help="API key or token.", envvar="VOICEFLEET_KEY")]
Save = Annotated[Path | None, typer.Option(help="WAV file to save the answers to.", dir_okay=False)]
CaFile = Annotated[
    Path | None, typer.Option(help="Certificate (PEM) to trust, for wss://.", exists=True, dir_okay=False)
]
Twilio = Annotated[bool, typer.Option("--twilio", help="Call as Twilio does; the URL is then ws://HOST:PORT/twilio.")]
Instructions = Annotated[str | None, typer.Option(help="System prompt of the call.")]


def call(
    url: Url,
    wav: Wavs,
    key: Key = None,
    save: Save = None,
    ca_file: CaFile = None,
    instructions: Instructions = None,
    twilio: Twilio = False,
) -> None:
    """Say WAV files to a node, paced in real time, and print what it heard and answered.

    Exits with 1 when a turn gets no audible answer.
    """
    console = Console()
    with errors_shown():
        tls = ssl.create_default_context(cafile=ca_file) if url.startswith("wss:") else None
        session = {"instructions": instructions} if instructions else {}
        if twilio:
            parameters = session | ({"token": key} if key else {})
            turns = asyncio.run(converse_by_telephone(url, wav, parameters, tls, console))
        else:
            speech = [speech_from(path) for path in wav]
            turns = asyncio.run(_converse(url, speech, key, session, tls, console))
        if save:
            save_answers(save, turns)
    if any(turn.voice_to_voice is None for turn in turns):
        raise typer.Exit(FAILED)


def save_answers(path: Path, turns: list[Turn]) -> None:
    """All answers, one after the other, as a WAV file."""
    write_wav(path, np.concatenate([turn.playout.samples for turn in turns]), turns[0].playout.rate)


async def _converse(
    url: str,
    speech: list[Speech],
    key: str | None,
    session: dict[str, str],
    tls: ssl.SSLContext | None,
    console: Console,
) -> list[Turn]:
    turns = []
    async with place_call(url, key, session=session, tls=tls, resumes=True) as caller:
        for utterance in speech:
            with console.status("on the line"):
                turns.append(await caller.say(utterance))
            show_turn(console, turns[-1])
    return turns
