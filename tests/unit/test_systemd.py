"""What systemd hears of a process."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from server.observability.systemd import serving_under_systemd


@contextmanager
def systemd(address: str) -> Iterator[socket.socket]:
    """The socket that systemd listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.setblocking(False)
        yield listener


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with systemd(str(tmp_path / "notify")) as listener:
        yield listener


async def next_word(listener: socket.socket) -> bytes:
    async with asyncio.timeout(5):
        return await asyncio.get_running_loop().sock_recv(listener, 4096)


def nothing_more(listener: socket.socket) -> bool:
    try:
        return not listener.recv(4096)
    except BlockingIOError:
        return True


async def test_it_hears_when_the_process_serves_and_when_it_stops(heard: socket.socket) -> None:
    async with serving_under_systemd():
        assert await next_word(heard) == b"READY=1"
        assert nothing_more(heard)
    assert await next_word(heard) == b"STOPPING=1"
    assert nothing_more(heard)


async def test_an_address_without_a_file_is_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"voicefleet-test-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    with systemd(f"\0{name}") as listener:
        async with serving_under_systemd():
            assert await next_word(listener) == b"READY=1"


async def test_the_watchdog_is_told_twice_in_its_time(heard: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    async with serving_under_systemd():
        assert await next_word(heard) == b"READY=1"
        assert await next_word(heard) == b"WATCHDOG=1"
        before = asyncio.get_running_loop().time()
        for _ in range(3):
            assert await next_word(heard) == b"WATCHDOG=1"
        assert asyncio.get_running_loop().time() - before >= 0.29
    assert await next_word(heard) == b"STOPPING=1"
    assert nothing_more(heard)


async def test_what_is_not_healthy_does_not_keep_the_watchdog_quiet(
    heard: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "2000")
    answers = iter([True, False, False, True])
    asked = asyncio.Event()

    def healthy() -> bool:
        answer = next(answers, None)
        if answer is None:
            asked.set()
        return bool(answer)

    async with serving_under_systemd(healthy):
        async with asyncio.timeout(5):
            await asked.wait()
    words = [await next_word(heard) for _ in range(4)]
    assert words == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1", b"STOPPING=1"]


async def test_a_systemd_that_does_not_read_holds_nothing_up(
    heard: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20")
    beats = 0
    enough = asyncio.Event()

    def healthy() -> bool:
        nonlocal beats
        beats += 1
        if beats > 1000:  # more than its queue takes
            enough.set()
        return True

    async with serving_under_systemd(healthy):
        async with asyncio.timeout(5):
            await enough.wait()


async def test_it_stops_also_where_the_block_fails(heard: socket.socket) -> None:
    with pytest.raises(ExceptionGroup):
        async with serving_under_systemd():
            raise RuntimeError
    assert [await next_word(heard) for _ in range(2)] == [b"READY=1", b"STOPPING=1"]


async def test_without_systemd_there_is_nobody_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setenv("WATCHDOG_USEC", "1")
    async with serving_under_systemd():
        pass


async def test_no_child_speaks_in_the_name_of_its_parent(heard: socket.socket) -> None:
    async with serving_under_systemd():
        assert "NOTIFY_SOCKET" not in os.environ
