"""The machine's sound device: a person's microphone and loudspeaker, at 24 kHz in frames of 20 ms.

It needs the extra `mic` and the library PortAudio, which are looked for when a device is opened and no sooner.
"""

import asyncio
import importlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from server.client.caller import FRAME_SECONDS, WIRE_RATE
from server.client.loudspeaker import Loudspeaker
from server.errors import VoicefleetError

_MOST_FRAMES = 50  # a second: what is older is not said any more


class NoSoundDevice(VoicefleetError):
    """There is no microphone and loudspeaker to use; the message says what is missing, and how to get it."""


@contextmanager
def sound_device(loudspeaker: Loudspeaker) -> Iterator[AsyncIterator[bytes]]:
    """Play what `loudspeaker` holds until the block ends; gives the frames that the microphone hears.

    Raises `NoSoundDevice`, and so does the iterator once the device stops by itself.
    """
    library = _library()
    loop = asyncio.get_running_loop()
    heard: asyncio.Queue[bytes] = asyncio.Queue(_MOST_FRAMES)

    def hear(frame: bytes) -> None:
        if heard.full():
            heard.get_nowait()
        heard.put_nowait(frame)

    # The next three are called by PortAudio, on threads of its own.
    def record(recorded: Any, *_: object) -> None:
        loop.call_soon_threadsafe(hear, bytes(recorded))

    def play(played: Any, *_: object) -> None:
        played[:] = loudspeaker.take(len(played))

    def stop() -> None:
        loop.call_soon_threadsafe(hear, b"")

    async def frames() -> AsyncIterator[bytes]:
        while frame := await heard.get():
            yield frame
        raise NoSoundDevice("the sound device has stopped")

    format = {"samplerate": WIRE_RATE, "blocksize": round(FRAME_SECONDS * WIRE_RATE), "channels": 1, "dtype": "int16"}
    try:
        # A stream each: one for both ends at the first underrun of some devices (ALSA over PulseAudio).
        microphone = library.RawInputStream(callback=record, finished_callback=stop, **format)
        speaker = library.RawOutputStream(callback=play, finished_callback=stop, **format)
    except library.PortAudioError as error:
        raise NoSoundDevice(f"no sound device that records and plays at {WIRE_RATE} Hz: {error}") from None
    with microphone, speaker:
        yield frames()


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
