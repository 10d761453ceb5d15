"""`voicefleet call --twilio`: the same call as it comes from a telephone, over Twilio Media Streams."""

import ssl
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from server.audio import g711
from server.client.caller import Turn, samples_from
from server.client.twilio_caller import twilio_call


async def converse_by_telephone(
    url: str, wavs: list[Path], parameters: Mapping[str, str], tls: ssl.SSLContext | None, console: Console
) -> list[Turn]:
    """Hear the greeting, say each WAV file and hear its answer; the words are not known. Raises `CallFailed`."""
    speech = [samples_from(path, g711.RATE) for path in wavs]
    turns = []
    async with twilio_call(url, parameters, tls=tls) as caller:
        with console.status("on the line"):
            await caller.listen(caller.greeting)
        console.print(f"greeted   for {_seconds(caller.greeting)}", highlight=False)
        for samples in speech:
            with console.status("on the line"):
                turns.append(await caller.say(samples))
            console.print(f"answered  for {_seconds(turns[-1])}, {_delay(turns[-1])}", highlight=False)
    return turns


def _seconds(turn: Turn) -> str:
    return f"{len(turn.playout.samples) / g711.RATE:.1f} s"


def _delay(turn: Turn) -> str:
    return "too softly" if turn.voice_to_voice is None else f"after {turn.voice_to_voice * 1000:.0f} ms"
