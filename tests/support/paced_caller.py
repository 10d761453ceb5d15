"""A caller in real time at the far end of another's framework, whose only sign is what is heard."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np

from server.client.playout import is_audible
from tests.support.speech import resample, speak

_PATIENCE = 40.0  # seconds: frameworks load for some, on two cores that others share
_QUIET_FRAMES = 30  # no pause within an answer lasts so long


class PacedCaller(ABC):
    """Says and plays 20 ms of 16-bit PCM at `rate` every 20 ms. `loud` tells of each whether something was heard."""

    def __init__(self, rate: int) -> None:
        self.loud: list[bool] = []
        self.unplayed = bytearray()
        self._rate = rate
        self._frame_bytes = rate // 50 * 2
        self._says = b""
        self._passing = asyncio.Event()

    @abstractmethod
    async def send(self, pcm: bytes) -> None:
        """Send the next 20 ms that the caller says."""

    async def say(self, text: str) -> None:
        """Begin to say it."""
        self._says += resample(await speak(text), 16_000, self._rate)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until it holds."""
        async with asyncio.timeout(_PATIENCE):
            while not condition():
                await self._passing.wait()

    async def hear_out(self) -> None:
        """Wait until something is heard from now on, and then nothing any more."""
        before = len(self.loud)
        await self.until(lambda: any(self.loud[before:]))
        await self.until(lambda: not any(self.loud[-_QUIET_FRAMES:]))

    async def keep_pace(self) -> None:
        """Speak and play until the call ends."""
        clock = asyncio.get_running_loop().time
        start = clock()
        while True:
            frame, self._says = self._says[: self._frame_bytes], self._says[self._frame_bytes :]
            await self.send(frame.ljust(self._frame_bytes, b"\0"))
            played = bytes(self.unplayed[: self._frame_bytes])
            del self.unplayed[: self._frame_bytes]
            self.loud.append(is_audible(np.frombuffer(played, "<i2")))
            self._passing.set()
            self._passing.clear()
            await asyncio.sleep(start + len(self.loud) / 50 - clock())
