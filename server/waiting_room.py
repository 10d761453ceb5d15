"""Connections that nobody would miss: each may be dropped when its time is over, and the oldest when there are many.

It neither reads nor writes; who is in the room is up to the servers that have one.
"""

import asyncio
from collections.abc import Hashable
from typing import Literal

from server.observability import metrics

DropReason = Literal["silent", "crowded"]


class WaitingRoom:
    """Has room for `most` connections. One more takes the place of the oldest, so that silence keeps nobody out."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[Hashable, tuple[asyncio.Transport, asyncio.TimerHandle]] = {}  # oldest first

    def enter(self, visitor: Hashable, transport: asyncio.Transport, seconds: float) -> None:
        """`visitor` has a connection, which is aborted unless it leaves within `seconds`."""
        if len(self._waiting) >= self._most:
            self._drop(next(iter(self._waiting)), "crowded")
        timer = asyncio.get_running_loop().call_later(seconds, self._drop, visitor, "silent")
        self._waiting[visitor] = transport, timer

    def leave(self, visitor: Hashable) -> asyncio.Transport | None:
        """It waits no more; gives its connection if it did."""
        transport, timer = self._waiting.pop(visitor, (None, None))
        if timer:
            timer.cancel()
        return transport

    def empty(self) -> None:
        """Abort every connection that waits."""
        for visitor in list(self._waiting):
            if transport := self.leave(visitor):
                transport.abort()

    def _drop(self, visitor: Hashable, reason: DropReason) -> None:
        if transport := self.leave(visitor):
            metrics.connections_dropped.labels(reason).inc()
            transport.abort()
