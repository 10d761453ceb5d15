"""One caller's WebSocket connection, below its messages: the place that it holds, and the frames that it may send.

The library answers pings and queues frames before any code of ours sees them. So a flood of them is ended here, and so
is a connection whose other side has fallen silent.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

import structlog
from websockets import ConnectionClosed
from websockets.asyncio.server import ServerConnection
from websockets.frames import Frame, Opcode
from websockets.protocol import Event

from server.access.admission import Lease
from server.access.auth import Principal
from server.access.rate_limit import TokenBucket
from server.access.tickets import Ticket
from server.dialects.dialect import ClientAtFault
from server.dialects.openai.session import Session
from server.limits import Limits, Rate
from server.observability import metrics

log = structlog.get_logger(__name__)

# What arrives in one go, up to 256 KB, is read in pieces, so that a flood is ended at its beginning.
_PIECE_BYTES = 16_384
_BURST_SECONDS = 20.0
_MOST_REASON_BYTES = 123  # of a close frame


class Connection(ServerConnection):
    """A caller's connection; its place on the node is held for exactly as long as the connection is.

    `ping_timed_out` says that it was ended because no answer to a ping came.
    """

    def __init__(self, *args: Any, limits: Limits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lease: Lease | None = None
        self.principal: Principal | None = None
        self.session: Session | None = None
        """What the call begins with, where its client secret says."""
        self.ticket: Ticket | None = None
        """Of the call that goes on here, where the handshake named one."""
        self.ping_timed_out = False
        frames, pings = limits.max_messages_per_second, limits.max_pings_per_second
        self._frames = TokenBucket(frames, _BURST_SECONDS * frames)
        self._pings = TokenBucket(pings, _BURST_SECONDS * pings)

    async def messages(self) -> AsyncGenerator[str | bytes, None]:
        """The client's messages until it leaves, however it does."""
        try:
            while True:
                yield await self.recv()
        except ConnectionClosed:
            return

    async def end(self, code: int, reason: str) -> None:
        """Close it, and drop what the client still said: it outlives its call until the collector finds it."""
        await self.close(code, reason.encode()[:_MOST_REASON_BYTES].decode(errors="ignore"))
        async for _ in self.messages():
            pass

    async def end_faulty(self, fault: ClientAtFault) -> None:
        """Close it, as its client has broken the protocol."""
        metrics.client_faults.labels(fault.fault).inc()
        log.warning("client_at_fault", fault=fault.fault, close_code=fault.close_code, error=str(fault))
        await self.end(fault.close_code, str(fault))

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back however the connection ended, even in the middle of the handshake."""
        super().connection_lost(exc)
        if self.lease:
            self.lease.release()

    async def keepalive(self) -> None:
        """Ping every `ping_interval` seconds, and hang up on who has not answered within `ping_timeout`.

        The library's own waits without end for a socket that is full, and another ten seconds for an answer to its
        goodbye; meanwhile a caller that is gone holds a place.
        """
        assert self.ping_interval is not None
        try:
            while True:
                await asyncio.sleep(self.ping_interval)
                async with asyncio.timeout(self.ping_timeout):
                    await (await self.ping())
        except ConnectionClosed:
            pass
        except TimeoutError:
            self.ping_timed_out = True
            self.protocol.fail(1011, "no answer to a ping")
            self.send_data()
            await asyncio.sleep(0)  # what is written leaves with the loop's next round
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Bytes from the caller's socket."""
        for offset in range(0, len(data), _PIECE_BYTES):
            super().data_received(data[offset : offset + _PIECE_BYTES])

    def process_event(self, event: Event) -> None:
        """The handshake's request or a frame, as the library has read it."""
        if isinstance(event, Frame):
            limit: Rate = "max_messages_per_second"
            allowance = self._frames
            if event.opcode is Opcode.PING:
                limit, allowance = "max_pings_per_second", self._pings
            if not allowance.take(1, time.monotonic()):
                self._end(limit, allowance.rate)
                return
        super().process_event(event)

    def _end(self, limit: Rate, rate: float) -> None:
        if self.protocol.close_sent is None:
            metrics.limits_met.labels(limit).inc()
            log.warning("limit_met", limit=limit, principal=self.principal.id if self.principal else "local")
            self.protocol.fail(1008, f"too many frames; takes {rate:g} per second (VOICE_{limit.upper()})")
            self.send_data()
