"""One port for two protocols: a connection's first line says whether it is HTTP or the handshake of a call.

It reads that line and nothing more, and hands the connection over with all that was read. Refusing is for those who
get it: what is no request at all, or has too long a line, goes to the WebSocket side, which says so.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

from websockets.asyncio.server import ServerConnection

from server.waiting_room import WaitingRoom

CALL_PATHS = ("/v1/realtime", "/openai/v1/realtime")
TWILIO_PATH = "/twilio"
_HTTP_PREFIXES = ("/v1/", "/openai/v1/")
_LONGEST_LINE = 8192  # bytes, as `websockets` takes
_MOST_WAITING = 1024


class FrontDoor:
    """Where a port's connections wait for their first line, `patience_seconds` each."""

    def __init__(self, patience_seconds: float) -> None:
        self.patience_seconds = patience_seconds
        self.waiting = WaitingRoom(_MOST_WAITING)
        self.http: Callable[[], asyncio.Protocol] | None = None
        """Makes a protocol for a connection that asks for HTTP; None: nobody is let in."""

    @contextmanager
    def open(self, http: Callable[[], asyncio.Protocol]) -> Iterator[None]:
        """Let connections in while the block runs. Then who waits is turned away, and who still comes."""
        self.http = http
        try:
            yield
        finally:
            self.http = None
            self.waiting.empty()


class Visitor(asyncio.Protocol):
    """One connection until its first line is there. `websocket` is the protocol that takes it if it is no HTTP."""

    def __init__(self, door: FrontDoor, websocket: ServerConnection) -> None:
        self._door = door
        self._websocket = websocket
        self.protocol = websocket.protocol
        """That of the handshake: `websockets` takes this for the connection that it will be."""
        self._read = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It has come."""
        self._transport = cast(asyncio.Transport, transport)
        if self._door.http:
            self._door.waiting.enter(self, self._transport, self._door.patience_seconds)
        else:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Part of the first line, or more."""
        self._read += data
        line, end, _ = self._read.partition(b"\n")
        if self._door.http and (end or len(line) >= _LONGEST_LINE) and self._door.waiting.leave(self):
            protocol: asyncio.Protocol = self._door.http() if is_http(bytes(line)) else self._websocket
            self._transport.set_protocol(protocol)
            protocol.connection_made(self._transport)
            protocol.data_received(bytes(self._read))

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone without a word."""
        self._door.waiting.leave(self)


def is_http(line: bytes) -> bool:
    """Whether a request's first line asks for anything but a call: another method than GET, or one of the API's paths.

    Every other GET goes to the WebSocket side, which refuses it if it is no handshake.
    """
    method, _, rest = line.decode("latin-1").partition(" ")
    if method == "GET":
        path = rest.partition(" ")[0].partition("?")[0].rstrip("/")
        return path.startswith(_HTTP_PREFIXES) and path not in CALL_PATHS
    return method.isalpha() and method.isupper() and rest.startswith("/")
