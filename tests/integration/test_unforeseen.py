"""An error that nobody foresaw, in one call of a gateway in this process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture
from websockets import ConnectionClosed
from websockets.asyncio.client import connect

from server.access.admission import Admission
from server.access.entrance import Entrance
from server.dialects.dialect import Abilities
from server.settings.loading import load_settings
from server.websocket_handler import Gateway


class _NoHttp:
    """Nobody asks for anything but calls."""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Callable[[], asyncio.Protocol]]:
        yield asyncio.Protocol


class _Session:
    """Breaks when it is told to."""

    async def run(self, messages: AsyncIterator[str | bytes], ticket: None) -> None:
        async with asyncio.TaskGroup():
            async for message in messages:
                if message == "break":
                    raise LookupError


async def test_it_ends_its_call_with_1011_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    parts: Any = SimpleNamespace(abilities=lambda _: Abilities())
    logged = LogCapture()
    monkeypatch.setattr("server.websocket_handler.log", structlog.wrap_logger(None, processors=[logged]))
    settings = load_settings(host="127.0.0.1", port=0)
    gateway = Gateway(settings, parts, Admission(2, 1), Entrance(settings), _NoHttp())
    monkeypatch.setattr(gateway, "_session", lambda *_: _Session())
    async with gateway.serve() as port:
        address = f"ws://127.0.0.1:{port}/v1/realtime"
        async with connect(address) as other, connect(address) as broken:
            await broken.send("break")
            with pytest.raises(ConnectionClosed) as closed:
                await broken.recv()
            assert closed.value.rcvd
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1011, "internal error")
            await (await other.ping())
        async with connect(address) as another:
            await (await another.ping())
    assert [line["log_level"] for line in logged.entries if line["event"] == "session_failed"] == ["error"]
