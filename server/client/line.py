"""A caller's line to a fleet: one call, on as many connections as it takes.

It calls again when a node is full, keeps the newest ticket, moves when a node asks for it, and resumes when a
connection is lost; what the caller said and no ticket knows is said again. For what it asks of the node see "Resuming
a call" in docs/protocol.md. Who uses it sees one stream of events.
"""

import asyncio
import json
import random
import time
from base64 import b64decode
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from websockets import ConnectionClosed
from websockets.asyncio.client import ClientConnection

from server.client.errors import CallFailed, CallRefused
from server.client.unheard import Unheard

_FULL = 503
_RETRIES = 4
_LONGEST_RETRY_AFTER_SECONDS = 10.0
_RESUME_SECONDS = 30.0  # no caller listens longer to nothing
_AGAIN_SECONDS = 0.2
_MOST_UNSENT = 512  # ten seconds of frames

Dial = Callable[[], Awaitable[ClientConnection]]


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection has ended, which `reason` says how; the line goes on with another one, or is about to try."""

    reason: str


@dataclass(frozen=True, slots=True)
class WentOn:
    """The call goes on on another connection, `because` it was lost or the node asked for it.

    `seconds` is how long that took, `again` how many seconds of the caller's audio are sent a second time.
    """

    because: Literal["lost", "moved"]
    seconds: float
    again: float


Change = Lost | WentOn


class Line:
    """One call. Audio that it is sent is in a format of `bytes_per_second`."""

    def __init__(
        self, connection: ClientConnection, dial: Dial, bytes_per_second: int, on_change: Callable[[Change], None]
    ) -> None:
        """`dial` opens another connection. Raises `CallFailed`."""
        self._connection = connection
        self._dial = dial
        self._on_change = on_change
        self._bytes_per_ms = bytes_per_second / 1000
        self._ticket = ""
        self._between = False  # two connections
        self._unsent: deque[tuple[str | bytes, float]] = deque(maxlen=_MOST_UNSENT)
        self._unheard = Unheard()
        self._item_id, self._received_ms = "", 0.0  # of the spoken item that came last
        self._part: dict[str, Any] = {}  # whose audio binary messages hold

    async def send(self, message: str | bytes, seconds: float = 0.0) -> None:
        """Send a message, or keep it while there is no connection. It holds so many seconds of the caller's audio."""
        if self._between:
            self._unsent.append((message, seconds))
            return
        try:
            await self._put(message, seconds)
        except ConnectionClosed:  # which `events` finds out too
            self._between = True
            if not seconds:
                self._unsent.append((message, seconds))

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """What the nodes tell, until the call is over; audio is bytes in it, however it came.

        Raises `CallFailed` where it can't go on.
        """
        while True:
            connection = self._connection
            try:
                while self._connection is connection:
                    event = self._read(await connection.recv())
                    await self._note(event)
                    yield event
            except ConnectionClosed as closed:
                if not self._ticket or (closed.rcvd and closed.rcvd.code == 1000):
                    raise CallFailed(f"the node hung up: {closed}") from None
                self._on_change(Lost(str(closed)))
                await self._resume()

    async def hang_up(self) -> None:
        """End the call."""
        await self._connection.close()

    def _read(self, message: str | bytes) -> dict[str, Any]:
        if isinstance(message, bytes):
            return {"type": "response.output_audio.delta", **self._part, "delta": message}
        event: dict[str, Any] = msgspec.json.decode(message)
        match event:
            case {"type": "response.output_audio.delta", "delta": delta}:
                event["delta"] = b64decode(delta)
            case {"type": "response.content_part.added", "part": {"type": "audio"}}:
                places = ("response_id", "item_id", "output_index", "content_index")
                self._part = {place: event[place] for place in places}
        return event

    async def _put(self, message: str | bytes, seconds: float) -> None:
        if seconds:
            self._unheard.say(message, 1000 * seconds)
        await self._connection.send(message)

    async def _note(self, event: dict[str, Any]) -> None:
        self._unheard.note(event)
        match event:
            case {"type": "x_session.ticket", "ticket": ticket}:
                self._ticket = ticket
            case {"type": "x_session.move", "ticket": ticket}:
                self._ticket = ticket
                await self._move()
            case {"type": "response.output_audio.delta", "item_id": item_id, "delta": delta}:
                before = self._received_ms if item_id == self._item_id else 0.0
                self._item_id, self._received_ms = item_id, before + len(delta) / self._bytes_per_ms
            case {"type": "conversation.item.truncated", "item_id": self._item_id, "audio_end_ms": heard}:
                self._received_ms = heard
            case {"type": "error", "error": {"code": str(code), "message": message}} if code.startswith("ticket_"):
                raise CallFailed(f"the call can't go on: {message}")

    async def _move(self) -> None:
        """To another node; where none takes the call at once, it stays until it is asked again."""
        self._between, old = True, self._connection
        began = time.monotonic()
        for _ in range(1 + _RETRIES):
            with suppress(CallFailed, ConnectionClosed):
                await self._go_on("moved", began)
                await old.close()
                return
        await self._flush()

    async def _resume(self) -> None:
        self._between, began = True, time.monotonic()
        while True:
            try:
                return await self._go_on("lost", began)
            except (CallFailed, ConnectionClosed):
                if time.monotonic() > began + _RESUME_SECONDS:
                    raise
            await asyncio.sleep(_AGAIN_SECONDS * (1 + random.random()))  # noqa: S311  # a whole node's calls come at once

    async def _go_on(self, because: Literal["lost", "moved"], began: float) -> None:
        connection = await self._dial()
        # What was received is played, whatever becomes of the connection that it came over.
        played = {"item_id": self._item_id, "audio_end_ms": round(self._received_ms)} if self._item_id else None
        await connection.send(json.dumps({"type": "x_session.resume", "ticket": self._ticket, "played": played}))
        self._connection = connection
        again = self._unheard.ms / 1000
        for message in self._unheard.again():
            await connection.send(message)
        await self._flush()
        self._on_change(WentOn(because, time.monotonic() - began, again))

    async def _flush(self) -> None:
        while self._unsent:
            await self._put(*self._unsent.popleft())
        self._between = False


async def when_there_is_room(dial: Dial) -> ClientConnection:
    """What `dial` opens; a full node is called again on a new connection, which may reach another one."""
    for _ in range(_RETRIES):
        try:
            return await dial()
        except CallRefused as refused:
            if refused.status != _FULL:
                raise
            await asyncio.sleep(min(refused.retry_after, _LONGEST_RETRY_AFTER_SECONDS))
    return await dial()
