"""The machine's sound device: a person's microphone and loudspeaker, at 24 kHz in frames of 20 ms.

It needs the extra `mic` and the library PortAudio, which are looked for when a device is opened and no sooner.
"""

import asyncio
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from server.client.caller import FRAME_SECONDS, WIRE_RATE
from server.client.loudspeaker import Loudspeaker
from server.errors import VoicefleetError

_MOST_FRAMES = 50  # a second: what is older is not said any more


class NoSoundDevice(VoicefleetError):
    """There is no microphone and loudspeaker to use; the message says what is missing, and how to get it."""


@contextmanager
def sound_device(loudspeaker: Loudspeaker) -> Iterator["asyncio.Queue[bytes]"]:
    """Play what `loudspeaker` holds, and fill the queue with what the microphone hears, until the block ends.

    Raises `NoSoundDevice`.
    """
    library = _library()
    loop = asyncio.get_running_loop()
    heard: asyncio.Queue[bytes] = asyncio.Queue(_MOST_FRAMES)

    def hear(frame: bytes) -> None:
        if heard.full():
            heard.get_nowait()
        heard.put_nowait(frame)

    def exchange(recorded: Any, played: Any, *_: object) -> None:
        """Called by PortAudio, on a thread of its own."""
        played[:] = loudspeaker.take(len(played))
        loop.call_soon_threadsafe(hear, bytes(recorded))

    try:
        stream = library.RawStream(
            samplerate=WIRE_RATE,
            blocksize=round(FRAME_SECONDS * WIRE_RATE),
            channels=1,
            dtype="int16",
            callback=exchange,
        )
    except library.PortAudioError as error:
        raise NoSoundDevice(f"no sound device that records and plays at {WIRE_RATE} Hz: {error}") from None
    with stream:
        yield heard


def _library() -> Any:
    try:
        return importlib.import_module("sounddevice")
    except ModuleNotFoundError:
        raise NoSoundDevice(
            "the package `sounddevice` is not installed; in a checkout: make mic; else: pip install 'voicefleet[mic]'"
        ) from None
    except OSError:  # it is, and does not find the library
        raise NoSoundDevice(
            "the library PortAudio is not installed; on Debian and Ubuntu: apt-get install libportaudio2"
        ) from None
