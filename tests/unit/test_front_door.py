"""Which of two protocols a connection speaks, by its first line; and who says nothing."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from server.front_door import FrontDoor, Visitor, is_http
from server.waiting_room import WaitingRoom


@pytest.mark.parametrize(
    "line",
    [
        b"POST /v1/realtime/client_secrets HTTP/1.1",
        b"POST /v1/realtime HTTP/1.1",
        b"OPTIONS /v1/audio/speech HTTP/1.1",
        b"HEAD /v1/models HTTP/1.1",
        b"GET /v1/models HTTP/1.1",
        b"GET /v1/models/tiny.en?x=1 HTTP/1.1",
        b"GET /openai/v1/models HTTP/1.1",
        b"GET /v1/files HTTP/1.1",
        b"DELETE / HTTP/1.1",
    ],
)
def test_it_asks_for_http(line: bytes) -> None:
    assert is_http(line)


@pytest.mark.parametrize(
    "line",
    [
        b"GET /v1/realtime HTTP/1.1",
        b"GET /v1/realtime?model=gpt-realtime&resume=abc HTTP/1.1",
        b"GET /v1/realtime/ HTTP/1.1",
        b"GET /openai/v1/realtime HTTP/1.1",
        b"GET /twilio HTTP/1.1",
        b"GET / HTTP/1.1",
        b"GET /v1 HTTP/1.1",
        b"get /v1/models HTTP/1.1",
        b"GET",
        b"",
        b"\r",
        b"HELLO",
        b"EHLO example.org",
        b"\x16\x03\x01\x00\x05" + bytes(5),
        "POST /v1/modèles".encode()[:4],
    ],
)
def test_it_is_for_the_websocket_side_to_serve_or_to_refuse(line: bytes) -> None:
    assert not is_http(line)


class Told(asyncio.Protocol):
    """Keeps what it is told."""

    protocol = None

    def __init__(self) -> None:
        self.said = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.said += data


@asynccontextmanager
async def opened(patience_seconds: float = 10.0) -> AsyncIterator[tuple[Told, Told, int]]:
    """A front door on a port: who gets calls, who gets HTTP, and the port."""
    door, calls, http = FrontDoor(patience_seconds), Told(), Told()
    server = await asyncio.get_running_loop().create_server(lambda: Visitor(door, cast(Any, calls)), "127.0.0.1", 0)
    async with server:
        with door.open(lambda: http):
            yield calls, http, server.sockets[0].getsockname()[1]


async def test_all_that_was_read_is_handed_over() -> None:
    async with opened() as (calls, http, port), asyncio.timeout(10):
        _, first = await asyncio.open_connection("127.0.0.1", port)
        _, second = await asyncio.open_connection("127.0.0.1", port)
        for piece in (b"PO", b"ST /v1/audio/speech HT", b"TP/1.1\r\nHost", b": x\r\n"):
            first.write(piece)
            await first.drain()
            await asyncio.sleep(0)
        second.write(b"GET /v1/realtime HTTP/1.1\r\n")
        while not (http.said.endswith(b": x\r\n") and calls.said):  # noqa: ASYNC110  # the kernel sets no event
            await asyncio.sleep(0)
        assert http.said == b"POST /v1/audio/speech HTTP/1.1\r\nHost: x\r\n"
        assert calls.said == b"GET /v1/realtime HTTP/1.1\r\n"
        first.close()
        second.close()


async def test_who_says_nothing_in_time_is_turned_away() -> None:
    async with opened(patience_seconds=0.05) as (calls, http, port), asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /v1/audio/sp")
        assert await reader.read() == b""
        assert (calls.said, http.said) == (b"", b"")


async def test_who_waits_when_the_door_closes_is_turned_away() -> None:
    async with asyncio.timeout(10):
        async with opened() as (_, _, port):
            reader, _ = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.sleep(0)
        assert await reader.read() == b""


async def test_the_oldest_of_too_many_makes_room() -> None:
    room = WaitingRoom(most=2)
    ends = [socket.socketpair() for _ in range(3)]
    loop = asyncio.get_running_loop()
    transports = [(await loop.create_connection(asyncio.Protocol, sock=ours))[0] for ours, _ in ends]
    for number, transport in enumerate(transports):
        room.enter(number, transport, 10.0)
    assert [transport.is_closing() for transport in transports] == [True, False, False]
    assert room.leave(0) is None
    assert room.leave(1) is transports[1]
    room.empty()
    assert [transport.is_closing() for transport in transports] == [True, False, True]
    transports[1].abort()
