"""`voicefleet call`: places a call from a WAV file or a microphone, and prints the conversation."""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from server.audio.wav import write_wav
from server.cli.console import FAILED, errors_shown, show_change, show_turn
from server.cli.telephone import converse_by_telephone
from server.client.caller import WIRE_RATE, Caller, Speech, Turn, session_settings, speech_from
from server.client.caller import call as place_call
from server.client.dialing import open_line
from server.client.line import Line
from server.client.loudspeaker import Loudspeaker
from server.client.sound_device import sound_device
from server.client.talk import Talk
from server.client.wire import Wire

Url = Annotated[str, typer.Argument(help="Where to call, such as ws://127.0.0.1:9000/v1/realtime.")]
Wavs = Annotated[
    list[Path] | None,
    typer.Option("--wav", help="What to say; more than one is a turn each.", exists=True, dir_okay=False),
]
Mic = Annotated[
    bool,
    typer.Option(
        "--mic",
        help="Speak yourself, by this machine's microphone and loudspeaker, until Ctrl-C; best with headphones, as no "
        "echo is cancelled. Needs the extra `mic`.",
    ),
]
Binary = Annotated[
    bool, typer.Option("--binary", help="Send and take audio as binary messages, not as base64 in events.")
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Hold a ticket of the call, and go on with it elsewhere when its node is lost or taken out of service; "
        "also call again while the node is full. Each is shown.",
    ),
]
Twilio = Annotated[bool, typer.Option("--twilio", help="Call as Twilio does; the URL is then ws://HOST:PORT/twilio.")]
Key = Annotated[str | None, typer.Option(help="API key or token.", envvar="VOICEFLEET_KEY")]
Save = Annotated[Path | None, typer.Option(help="WAV file to save the answers to.", dir_okay=False)]
CaFile = Annotated[
    Path | None, typer.Option(help="Certificate (PEM) to trust, for wss://.", exists=True, dir_okay=False)
]
Instructions = Annotated[str | None, typer.Option(help="System prompt of the call.")]


def call(
    url: Url,
    wav: Wavs = None,
    mic: Mic = False,
    binary: Binary = False,
    resume: Resume = False,
    twilio: Twilio = False,
    key: Key = None,
    save: Save = None,
    ca_file: CaFile = None,
    instructions: Instructions = None,
) -> None:
    """Call a node and print what it heard and answered.

    You speak by WAV files, paced in real time (--wav), or by microphone (--mic). With --wav it exits with 1 when a turn
    gets no audible answer.
    """
    if mic == bool(wav):
        raise typer.BadParameter("got both or neither; takes --wav or --mic, one of the two")
    if twilio and (mic or binary or resume):
        raise typer.BadParameter("--twilio takes none of --mic, --binary and --resume")
    console = Console()
    turns: list[Turn] = []

    def show(turn: Turn) -> None:
        turns.append(turn)
        show_turn(console, turn)

    with errors_shown():
        tls = ssl.create_default_context(cafile=ca_file) if url.startswith("wss:") else None
        session = {"instructions": instructions} if instructions else {}
        wire, on_change = Wire(binary=binary), partial(show_change, console)
        try:
            if twilio:
                parameters = session | ({"token": key} if key else {})
                turns += asyncio.run(converse_by_telephone(url, wav or [], parameters, tls, console))
            elif mic:
                line = open_line(url, key, tls, wire, resumes=resume, on_change=on_change)
                asyncio.run(_talk(line, wire, session_settings(wire, resume) | session, console, show))
            else:
                speech = [speech_from(path) for path in wav or ()]
                caller = place_call(url, key, session=session, tls=tls, on_change=on_change, resumes=resume, wire=wire)
                asyncio.run(_converse(caller, speech, console, show))
        finally:
            if save and turns:
                save_answers(save, turns)
    if any(turn.voice_to_voice is None for turn in turns):
        raise typer.Exit(FAILED)


def save_answers(path: Path, turns: list[Turn]) -> None:
    """All answers, one after the other, as a WAV file."""
    write_wav(path, np.concatenate([turn.playout.samples for turn in turns]), turns[0].playout.rate)


async def _converse(
    placed: AbstractAsyncContextManager[Caller],
    speech: list[Speech],
    console: Console,
    on_turn: Callable[[Turn], None],
) -> None:
    async with placed as caller:
        for utterance in speech:
            with console.status("on the line"):
                turn = await caller.say(utterance)
            on_turn(turn)


async def _talk(
    opened: AbstractAsyncContextManager[Line],
    wire: Wire,
    session: dict[str, Any],
    console: Console,
    on_turn: Callable[[Turn], None],
) -> None:
    loudspeaker = Loudspeaker(WIRE_RATE)
    with sound_device(loudspeaker) as microphone:
        async with opened as line:
            console.print("on the line: speak, and end the call with Ctrl-C")
            await Talk(line, wire, microphone, loudspeaker, on_turn).hold(session)
