"""Answers that are sent while they are being made: bytes, or server-sent events."""

import asyncio

import msgspec
from aiohttp import web

from server.http_api.errors import ApiError

EVENT_STREAM = "text/event-stream"
_PATIENCE_SECONDS = 30.0  # for a client that does not read what it is sent


class BrokenOff(ConnectionError):
    """An answer can't be finished: its connection is closed in the middle of it, so that the client knows."""


class Stream:
    """An answer that has begun."""

    def __init__(self, response: web.StreamResponse) -> None:
        self._response = response

    async def send(self, data: bytes) -> None:
        """More of it. Raises `ConnectionError` where the client is gone or does not read."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._response.write(data)
        except TimeoutError:
            raise BrokenOff from None

    async def event(self, content: object) -> None:
        """A server-sent event. Raises as `send` does."""
        await self.send(b"data: " + msgspec.json.encode(content) + b"\n\n")

    async def end(self) -> web.StreamResponse:
        """That was all."""
        await self._response.write_eof()
        return self._response

    async def break_off(self, error: ApiError) -> web.StreamResponse:
        """There is no more of it. Raises `BrokenOff` where that can't be told in it."""
        if self._response.content_type != EVENT_STREAM:
            raise BrokenOff
        await self.send(b"data: " + error.body() + b"\n\n")
        return await self.end()


STREAM = web.RequestKey("stream", Stream)


async def begin(request: web.Request, content_type: str) -> Stream:
    """Begin the answer to `request`; from then on its errors are told by `break_off`."""
    response = web.StreamResponse(headers={"Content-Type": content_type, "Cache-Control": "no-store"})
    await response.prepare(request)
    stream = Stream(response)
    request[STREAM] = stream
    return stream
