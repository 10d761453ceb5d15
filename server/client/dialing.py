"""Opens the line of a call: the first connection to a node, and how each later one is made."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from websockets import InvalidHandshake, InvalidHeaderValue, InvalidStatus, InvalidURI
from websockets.asyncio.client import ClientConnection, connect

from server.client.errors import CallFailed, CallRefused
from server.client.line import Change, Line, when_there_is_room
from server.client.wire import BASE64, Wire

# A machine that vanishes says nothing, and answers no ping. Who can go on elsewhere has to find out soon.
_PING_SECONDS, _RESUMING_PING_SECONDS = 20.0, 5.0

# How long a node may take to close a connection in order: until then nobody reads the next one, if the call moves.
_HANG_UP_SECONDS = 2.0


@asynccontextmanager
async def open_line(
    url: str,
    key: str | None,
    tls: ssl.SSLContext | None,
    wire: Wire,
    *,
    resumes: bool,
    on_change: Callable[[Change], None] = lambda _: None,
) -> AsyncIterator[Line]:
    """A line to `url` (ws:// or wss://, with path), until the block ends. Raises `CallFailed`.

    One that `resumes` calls again when the node is full.
    """
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    again = partial(dial, url, headers, tls, _RESUMING_PING_SECONDS if resumes else _PING_SECONDS, wire)
    first = await (when_there_is_room(again) if resumes else again())
    line = Line(first, again, wire.format.bytes_per_second, on_change)
    try:
        yield line
    finally:
        await line.hang_up()


async def dial(
    url: str, headers: dict[str, str], tls: ssl.SSLContext | None, ping_seconds: float, wire: Wire = BASE64
) -> ClientConnection:
    """A connection to `url`, pinged every `ping_seconds`. Raises `CallFailed`."""
    try:
        return await connect(
            wire.address(url),
            additional_headers=headers,
            compression=None,
            ssl=tls,
            max_size=None,
            close_timeout=_HANG_UP_SECONDS,
            ping_interval=ping_seconds,
            ping_timeout=ping_seconds,
        )
    except InvalidStatus as error:
        body = (error.response.body or b"").decode(errors="replace").strip()
        status, retry_after = error.response.status_code, error.response.headers.get("Retry-After", "1")
        raise CallRefused(f"{url} refused the call with HTTP {status}: {body}", status, float(retry_after)) from None
    except InvalidHeaderValue:  # which quotes it
        raise CallFailed("the key holds characters that no header can hold") from None
    except (OSError, ValueError, InvalidHandshake, InvalidURI) as error:  # ValueError: an address that is none
        raise CallFailed(f"{url} can't be reached: {str(error) or type(error).__name__}") from None
