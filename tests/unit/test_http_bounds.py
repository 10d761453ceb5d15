"""What the HTTP API holds at most: connections, requests and bodies, by bounds that are made small here."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from server.access.admission import Admission
from server.access.entrance import Entrance
from server.dialects.dialect import Abilities
from server.http_api.app import HttpApi
from server.settings.loading import load_settings

GET = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
UPLOAD = (
    b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n"
    b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + bytes(30_000)
)
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """The API alone on a port, without the speech parts, which none of these requests reaches."""
    settings = load_settings()
    parts: Any = SimpleNamespace(abilities=lambda _: Abilities(), tts=None)
    api = HttpApi(settings, parts, Admission(4, 1), Entrance(settings))
    async with api.serving() as protocol:
        server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
        async with server, asyncio.timeout(10):
            yield server.sockets[0].getsockname()[1]


async def asked(port: int, request: bytes) -> Streams:
    """A connection with a request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    return reader, writer


async def status(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    return int(head.split()[1])


async def test_a_new_connection_takes_the_place_of_the_one_that_waits_longest(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.http_api.app._MOST_CONNECTIONS", 2)
    connections = [await asked(port, GET) for _ in range(2)]
    assert [await status(reader) for reader, _ in connections] == [200, 200]
    busy = await asked(port, UPLOAD)
    newest = await asked(port, GET)
    assert await status(newest[0]) == 200
    (first, _), (second, _) = connections
    assert (await first.read()).endswith(b"]}")
    assert (await second.read()).endswith(b"]}")
    assert not busy[0].at_eof()


async def test_no_more_requests_are_answered_at_once_than_there_may_be(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.http_api.app._MOST_REQUESTS", 0)
    reader, _ = await asked(port, GET)
    assert await status(reader) == 503


async def test_a_body_has_to_come_in_time(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.http_api.bodies._BODY_SECONDS", 0.05)
    reader, _ = await asked(port, UPLOAD)
    assert await status(reader) == 408


async def test_all_recordings_together_have_a_bound(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.http_api.bodies._MOST_HELD_BYTES", 40_000)
    first, second = await asked(port, UPLOAD), await asked(port, UPLOAD)
    refused = [asyncio.create_task(status(reader)) for reader, _ in (first, second)]
    done, waiting = await asyncio.wait(refused, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result() for task in done] == [503]
    assert len(waiting) == 1
    waiting.pop().cancel()
