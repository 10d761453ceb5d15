"""An answer's audio, synthesized before anybody listens to it: while it is not certain that the answer is wanted, and
while a clause waits for its turn.

It neither paces nor decides. Of an answer one clause is made after the other, and a few seconds are held; for more the
voice waits until somebody listens.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Protocol, Self

from server.tts_processor import TtsError
from server.workers.clause_audio import BYTES_PER_SAMPLE

# A first clause has a dozen words at most, as a rule: all of it is there, and the worker's slot is free again.
_MOST_SECONDS = 5.0


class Speech(Protocol):
    """Something to be said, such as `TtsSession.synthesize` with its text."""

    def __call__(self, *, needed_at: float) -> AsyncGenerator[bytes, None]:
        """Its audio, of which the caller's playout needs the first at `needed_at` (monotonic seconds), 0: at once."""
        ...


class Playout:
    """What is known of one answer's playout before its audio has left. `now` is monotonic seconds."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        """Set when somebody has begun to listen."""
        self._taken_until = 0.0  # when the caller has heard all that was taken
        self._held = 0.0  # seconds that were made and not taken

    @property
    def ends_at(self) -> float:
        """When the caller has heard all that was made; 0 if nobody listens."""
        return self._taken_until + self._held if self.begun.is_set() else 0.0

    def made(self, seconds: float) -> None:
        """More of it is there; less, where it is negative."""
        self._held += seconds

    def taken(self, seconds: float, now: float) -> None:
        """So much of what was made goes to the caller, who hears it after what went before."""
        self._held -= seconds
        self._taken_until = max(self._taken_until, now) + seconds
        self.begun.set()


class SpeechAhead:
    """Iterates over a clause's audio; where the voice fails, it fails for who listens.

    The first clause of an answer is begun at once; another when the one `before` it is all there and a few seconds of
    audio are left at most, or when somebody listens.
    """

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        speech: Speech,
        sample_rate: int,
        playout: Playout,
        before: "SpeechAhead | None" = None,
    ) -> None:
        self._bytes_per_second = BYTES_PER_SAMPLE * sample_rate
        self._playout = playout
        self._before = before
        self._chunks: asyncio.Queue[bytes | TtsError | None] = asyncio.Queue()
        self._held = 0  # bytes
        self._listened = asyncio.Event()
        self._taken = asyncio.Event()
        self._made = asyncio.Event()
        self.seconds = 0.0
        """How much has been synthesized."""
        self._task = tasks.create_task(self._make(speech))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next chunk. Raises `TtsError`."""
        self._listened.set()
        chunk = await self._chunks.get()
        if chunk is None:
            raise StopAsyncIteration
        if isinstance(chunk, TtsError):
            raise chunk
        self._held -= len(chunk)
        self._playout.taken(len(chunk) / self._bytes_per_second, time.monotonic())
        self._taken.set()
        return chunk

    def stop(self) -> None:
        """Free the voice: nobody is going to listen."""
        self._task.cancel()
        self._playout.made(-self._held / self._bytes_per_second)
        self._held = 0
        self._made.set()

    async def aclose(self) -> None:
        """As `stop`."""
        self.stop()

    async def _make(self, speech: Speech) -> None:
        if self._before:
            await self._turn(self._before)
        try:
            async with aclosing(speech(needed_at=self._playout.ends_at)) as chunks:
                async for pcm in chunks:
                    self._chunks.put_nowait(pcm)
                    self._held += len(pcm)
                    seconds = len(pcm) / self._bytes_per_second
                    self.seconds += seconds
                    self._playout.made(seconds)
                    while self._held > _MOST_SECONDS * self._bytes_per_second:
                        self._taken.clear()
                        await self._taken.wait()
        except TtsError as error:
            self._chunks.put_nowait(error)
        else:
            self._chunks.put_nowait(None)
        self._made.set()

    async def _turn(self, before: "SpeechAhead") -> None:
        """Wait until the clause may be begun."""
        await before._made.wait()
        await self._playout.begun.wait()
        early = self._playout.ends_at - _MOST_SECONDS - time.monotonic()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, early)):
                await self._listened.wait()
