"""A stand-in for PyPI `sounddevice` on a machine without a sound device.

Its microphone hears the WAV file SOUND_DEVICE_HEARS in real time, and then silence; what its loudspeaker plays is
written to SOUND_DEVICE_PLAYS.
"""

import os
import threading
import time
import wave
from collections.abc import Callable
from typing import Any, Self


class PortAudioError(Exception):
    pass


class RawStream:
    def __init__(
        self, samplerate: int, blocksize: int, channels: int, dtype: str, callback: Callable[..., None]
    ) -> None:
        with wave.open(os.environ["SOUND_DEVICE_HEARS"]) as heard:
            assert (heard.getframerate(), heard.getnchannels(), channels, dtype) == (samplerate, 1, 1, "int16")
            self._heard = heard.readframes(heard.getnframes())
        self._rate = samplerate
        self._samples = blocksize
        self._callback = callback
        self._played = bytearray()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stopped.set()
        self._thread.join()
        with wave.open(os.environ["SOUND_DEVICE_PLAYS"], "wb") as played:
            played.setparams((1, 2, self._rate, 0, "NONE", ""))
            played.writeframes(self._played)

    def _run(self) -> None:
        size, start = 2 * self._samples, time.monotonic()
        for at in range(0, 1 << 30, size):
            recorded, played = self._heard[at : at + size].ljust(size, b"\0"), bytearray(size)
            self._callback(memoryview(recorded), memoryview(played), self._samples, None, None)
            self._played += played
            if self._stopped.wait(max(0.0, start + (at + size) / 2 / self._rate - time.monotonic())):
                return
