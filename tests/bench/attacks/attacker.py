"""Who attacks: a caller with a valid key, who counts what the node answers."""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets import InvalidStatus
from websockets.asyncio.client import ClientConnection, connect
from websockets.protocol import State

QUIET_SECONDS = 1.5
"""A node that has been silent for so long has nothing more to say."""

_HEAD = 2000  # characters: what a message is shows at its beginning, and some are of a megabyte


class Line:
    """An attacker's call. What comes back is read by a task of its own, and counted in `told`."""

    def __init__(self, connection: ClientConnection, told: Counter[str], quiet_seconds: float) -> None:
        self.connection = connection
        self._told = told
        self._quiet_seconds = quiet_seconds
        self._heard_at = time.monotonic()

    async def send(self, type: str, /, **fields: Any) -> None:
        """A client event."""
        await self.connection.send(json.dumps({"type": type, **fields}))

    async def add(self, *parts: dict[str, Any], **fields: Any) -> None:
        """A message of the user's."""
        item = {"type": "message", "role": "user", "content": parts, **fields}
        await self.send("conversation.item.create", item=item)

    async def update(self, **session: Any) -> None:
        """Change the session."""
        await self.send("session.update", session={"type": "realtime", **session})

    async def quiet(self) -> None:
        """Wait until nothing has come for a while, or the call is over."""
        while self.open and self._heard_at + self._quiet_seconds > time.monotonic():  # noqa: ASYNC110  # it moves on
            await asyncio.sleep(0.05)

    @property
    def open(self) -> bool:
        """Whether the node has not ended the call."""
        return self.connection.state is State.OPEN

    async def read(self) -> None:
        """Count all that comes."""
        async for message in self.connection:
            self._heard_at = time.monotonic()
            text = str(message)[:_HEAD]
            if '"type":"error"' in text or '"status":"failed"' in text:
                self._told["error " + (re.findall(r'"code":"(\w+)"', text) or ["without a code"])[0]] += 1
            else:
                self._told["replies"] += 1


@dataclass(slots=True)
class Attacker:
    """Who attacks: a key, a token, and a `scale` that makes an attack smaller for a test. `told` counts the answers."""

    url: str
    key: str
    token: str = ""
    scale: float = 1.0
    told: Counter[str] = field(default_factory=Counter)

    def times(self, count: int) -> range:
        """So many times; fewer at a smaller scale."""
        return range(max(1, round(count * self.scale)))

    @asynccontextmanager
    async def call(self, key: str | None = None) -> AsyncIterator[Line]:
        """A call. Raises `InvalidStatus` or `ConnectionClosed` where the node refuses or ends it, which is counted."""
        headers = {"Authorization": f"Bearer {key or self.key}"}
        try:
            connection = await connect(
                self.url, additional_headers=headers, compression=None, max_size=None, close_timeout=1.0
            )
        except InvalidStatus as refused:
            self.told[f"http {refused.response.status_code}"] += 1
            raise
        async with connection:
            line = Line(connection, self.told, QUIET_SECONDS * self.scale)
            reading = asyncio.create_task(line.read())
            try:
                yield line
                await line.quiet()
            finally:
                reading.cancel()
                await asyncio.wait([reading])
                if closed := connection.protocol.close_rcvd:
                    self.told[f"close {closed.code}"] += 1
