"""A clause's audio, synthesized before anybody listens to it: while it is not certain that the answer is wanted, or
while the clause waits for its turn.

It neither paces nor decides. It holds a few seconds; for more the voice waits until somebody listens.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Self

from server.tts_processor import TtsError
from server.workers.clause_audio import BYTES_PER_SAMPLE

# A first clause has a dozen words at most, as a rule: all of it is there, and the worker's slot is free again.
_MOST_SECONDS = 5.0


class SpeechAhead:
    """Iterates over what `speech` gives, which is begun at once; where that fails, it fails for who listens."""

    def __init__(self, tasks: asyncio.TaskGroup, speech: AsyncGenerator[bytes, None], sample_rate: int) -> None:
        self._bytes_per_second = BYTES_PER_SAMPLE * sample_rate
        self._chunks: asyncio.Queue[bytes | TtsError | None] = asyncio.Queue()
        self._held = 0  # bytes
        self._taken = asyncio.Event()
        self.seconds = 0.0
        """How much has been synthesized."""
        self._task = tasks.create_task(self._read(speech))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next chunk. Raises `TtsError`."""
        chunk = await self._chunks.get()
        if chunk is None:
            raise StopAsyncIteration
        if isinstance(chunk, TtsError):
            raise chunk
        self._held -= len(chunk)
        self._taken.set()
        return chunk

    def stop(self) -> None:
        """Free the voice: nobody is going to listen."""
        self._task.cancel()

    async def aclose(self) -> None:
        """As `stop`."""
        self.stop()

    async def _read(self, speech: AsyncGenerator[bytes, None]) -> None:
        try:
            async with aclosing(speech) as chunks:
                async for pcm in chunks:
                    self._chunks.put_nowait(pcm)
                    self._held += len(pcm)
                    self.seconds += len(pcm) / self._bytes_per_second
                    while self._held > _MOST_SECONDS * self._bytes_per_second:
                        self._taken.clear()
                        await self._taken.wait()
        except TtsError as error:
            self._chunks.put_nowait(error)
        else:
            self._chunks.put_nowait(None)
