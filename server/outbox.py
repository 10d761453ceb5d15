"""The messages on their way to one client, with a bound on how many and how much they are."""

import asyncio
from collections import deque

from server.errors import VoicefleetError
from server.wire_message import WireMessage

# Some ten seconds of an answer, or a few items of the largest size: a client that has not read so much for so long
# will not catch up.
_MOST_MESSAGES = 256
_MOST_BYTES = 16_777_216


class SlowClient(VoicefleetError):
    """The client does not read what it is sent, and that no longer fits into memory."""


class Outbox:
    """Filled by whoever has something to tell the client, emptied by the one task that writes to its socket."""

    def __init__(self) -> None:
        self._messages: deque[WireMessage] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self._half_empty = asyncio.Event()
        self._half_empty.set()

    def put(self, message: WireMessage) -> None:
        """Raises `SlowClient`."""
        if len(self._messages) >= _MOST_MESSAGES or self._bytes > _MOST_BYTES:
            raise SlowClient
        self._messages.append(message)
        self._bytes += len(message.data)
        self._filled.set()
        self._note_room()

    async def get(self) -> WireMessage:
        """The oldest message; waits for one."""
        while not self._messages:
            self._filled.clear()
            await self._filled.wait()
        message = self._messages.popleft()
        self._bytes -= len(message.data)
        self._note_room()
        return message

    async def half_empty(self) -> None:
        """Wait until half of the room is free: nobody who asks for much is cut for what they were answered."""
        await self._half_empty.wait()

    def _note_room(self) -> None:
        if len(self._messages) <= _MOST_MESSAGES // 2 and self._bytes <= _MOST_BYTES // 2:
            self._half_empty.set()
        else:
            self._half_empty.clear()
