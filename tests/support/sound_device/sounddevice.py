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


class _Stream:
    """Gives its callback a frame when it is due."""

    def __init__(
        self,
        samplerate: int,
        blocksize: int,
        channels: int,
        dtype: str,
        callback: Callable[..., None],
        finished_callback: Callable[[], None],
    ) -> None:
        assert (channels, dtype) == (1, "int16")
        self._rate = samplerate
        self._samples = blocksize
        self._callback = callback
        self._finished = finished_callback
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stopped.set()
        self._thread.join()
        self._finished()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopped.wait(max(0.0, due - time.monotonic())):
            due += self._samples / self._rate
            self._exchange(2 * self._samples)

    def _exchange(self, size: int) -> None:
        raise NotImplementedError


class RawInputStream(_Stream):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        with wave.open(os.environ["SOUND_DEVICE_HEARS"]) as heard:
            assert (heard.getframerate(), heard.getnchannels()) == (self._rate, 1)
            self._heard = heard.readframes(heard.getnframes())

    def _exchange(self, size: int) -> None:
        frame, self._heard = self._heard[:size], self._heard[size:]
        self._callback(memoryview(frame.ljust(size, b"\0")), self._samples, None, None)


class RawOutputStream(_Stream):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._played = bytearray()

    def __exit__(self, *_: Any) -> None:
        super().__exit__()
        with wave.open(os.environ["SOUND_DEVICE_PLAYS"], "wb") as played:
            played.setparams((1, 2, self._rate, 0, "NONE", ""))
            played.writeframes(self._played)

    def _exchange(self, size: int) -> None:
        played = bytearray(size)
        self._callback(memoryview(played), self._samples, None, None)
        self._played += played
