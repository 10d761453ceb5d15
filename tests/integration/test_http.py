"""The HTTP side over a real socket: alive, ready or not and why, metrics, and nothing else."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from server import __version__
from server.access.admission import Admission
from server.node.http import PartState, serve_http
from server.talk.page import TalkPage


@dataclass
class Node:
    """The state of a node, as a test needs it; the address of its HTTP side is `url`."""

    admission: Admission = field(default_factory=lambda: Admission(limit=2, retry_after=3))
    states: dict[str, PartState] = field(default_factory=dict)
    url: str = ""
    talk: TalkPage | None = None
    deregistered: bool = False

    def parts(self) -> dict[str, PartState]:
        return self.states


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    node = Node()
    node.states = {"stt": PartState(True, "tiny.en on cpu"), "llm": PartState(True, required=False)}
    async with serve_http(node, "127.0.0.1", 0) as port:
        node.url = f"http://127.0.0.1:{port}"
        yield node


@pytest.fixture
async def client(node: Node) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(node.url) as session:
        yield session


async def test_health_names_every_part(node: Node, client: aiohttp.ClientSession) -> None:
    node.admission.admit()
    async with client.get("/health") as response:
        assert response.status == 200
        assert response.content_type == "application/json"
        health = await response.json()
    assert health.pop("uptime_seconds") >= 0
    assert health == {
        "status": "ok",
        "version": __version__,
        "sessions": {"active": 1, "capacity": 2},
        "parts": {
            "stt": {"serving": True, "detail": "tiny.en on cpu", "required": True},
            "llm": {"serving": True, "detail": "", "required": False},
        },
    }


@pytest.mark.parametrize("part", ["stt", "llm"])
async def test_a_node_without_a_part_is_degraded_and_alive(
    node: Node, client: aiohttp.ClientSession, part: str
) -> None:
    node.states[part] = PartState(False, "starting")
    async with client.get("/health") as response:
        assert response.status == 200
        assert (await response.json())["status"] == "degraded"


async def test_ready_while_it_wants_calls(client: aiohttp.ClientSession) -> None:
    async with client.get("/ready") as response:
        assert response.status == 200
        assert await response.json() == {"ready": True, "reasons": []}


async def test_not_ready_when_full_and_ready_again_after(node: Node, client: aiohttp.ClientSession) -> None:
    with node.admission.admit(), node.admission.admit():
        async with client.get("/ready") as response:
            assert response.status == 503
            assert response.headers["Retry-After"] == "3"
            assert await response.json() == {"ready": False, "reasons": ["full"]}
    async with client.get("/ready") as response:
        assert response.status == 200


async def test_not_ready_when_draining_or_cold_with_every_reason(node: Node, client: aiohttp.ClientSession) -> None:
    node.admission.start_draining()
    node.states |= {"tts": PartState(False, "starting"), "llm": PartState(False, required=False)}
    async with client.get("/ready") as response:
        assert response.status == 503
        assert (await response.json())["reasons"] == ["draining", "tts not serving"]


async def test_a_missing_language_model_alone_keeps_no_call_away(node: Node, client: aiohttp.ClientSession) -> None:
    node.states["llm"] = PartState(False, "throttled", required=False)
    async with client.get("/ready") as response:
        assert response.status == 200


async def test_a_full_node_keeps_its_place_at_the_load_balancer(node: Node, client: aiohttp.ClientSession) -> None:
    with node.admission.admit(), node.admission.admit():
        async with client.get("/in-service") as response:
            assert response.status == 200
            assert await response.json() == {"in_service": True, "reasons": []}


async def test_a_node_that_drains_or_lacks_a_part_is_to_get_no_calls(node: Node, client: aiohttp.ClientSession) -> None:
    node.states |= {"tts": PartState(False, "starting"), "llm": PartState(False, required=False)}
    async with client.get("/in-service") as response:
        assert response.status == 503
        assert await response.json() == {"in_service": False, "reasons": ["tts not serving"]}
    node.admission.start_draining()
    async with client.get("/in-service") as response:
        assert (await response.json())["reasons"] == ["draining", "tts not serving"]


async def test_a_node_that_the_balancer_lets_go_of_passes_to_the_end_as_a_balancer_may_cut_one_that_does_not(
    node: Node, client: aiohttp.ClientSession
) -> None:
    node.deregistered = True
    node.admission.start_draining()
    node.states["tts"] = PartState(False, "starting")
    async with client.get("/in-service") as response:
        assert response.status == 200
    async with client.get("/ready") as response:
        assert response.status == 503


async def test_metrics_are_what_prometheus_reads(client: aiohttp.ClientSession) -> None:
    async with client.get("/metrics") as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/plain; version=")
        families = {family.name: family for family in text_string_to_metric_families(await response.text())}
    assert families["voice_sessions_capacity"].samples[0].value == 2
    assert "process_resident_memory_bytes" in families


async def test_there_is_no_page_to_talk_with_before_calls_are_taken(client: aiohttp.ClientSession) -> None:
    async with client.get("/talk") as response:
        assert response.status == 503
        assert await response.json() == {"error": "the node does not take calls yet"}


@pytest.mark.parametrize("path", ["/", "/healthz", "/health/", "/v1/realtime", "/%2e%2e/etc/passwd"])
async def test_any_other_address_is_not_found(client: aiohttp.ClientSession, path: str) -> None:
    async with client.get(path) as response:
        assert response.status == 404
        assert "/ready" in (await response.json())["error"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
@pytest.mark.parametrize("path", ["/health", "/elsewhere"])
async def test_any_other_method_is_not_taken(client: aiohttp.ClientSession, method: str, path: str) -> None:
    async with client.request(method, path, data=b"x" * 100_000) as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET, HEAD"
        assert await response.json()


@pytest.mark.parametrize("path", ["/health", "/ready", "/in-service", "/metrics"])
async def test_a_head_request_has_the_status_and_no_body(client: aiohttp.ClientSession, path: str) -> None:
    async with client.head(path) as response:
        assert response.status == 200
        assert await response.read() == b""


# --- those who are silent, slow or many


@asynccontextmanager
async def opened(port: int, sent: bytes = b"") -> AsyncIterator[asyncio.StreamReader]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        yield reader
    finally:
        writer.transport.abort()


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What came before the server closed the connection. Raises `TimeoutError` if it does not."""
    received = b""
    with suppress(ConnectionResetError):
        async with asyncio.timeout(20):
            while block := await reader.read(65536):
                received += block
    return received


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET /health", id="half a line"),
        pytest.param(b"GET /health HTTP/1.1\r\nHost: x\r\nX: ", id="half a header"),
        pytest.param(b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nx", id="half a body"),
    ],
)
async def test_a_connection_that_asks_nothing_whole_is_dropped(node: Node, sent: bytes) -> None:
    async with (
        serve_http(node, "127.0.0.1", 0, patience_seconds=0.2) as port,
        opened(port, sent) as first,
        opened(port, sent) as second,
    ):
        assert b" 200 " not in await ended(first) + await ended(second)


async def test_a_header_in_small_pieces_wins_no_time(node: Node) -> None:
    async with serve_http(node, "127.0.0.1", 0, patience_seconds=0.3) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        async def dribble() -> None:
            writer.write(b"GET /health HTTP/1.1\r\n")
            while True:
                writer.write(b"X: y\r\n")
                await asyncio.sleep(0.02)

        slow = asyncio.create_task(dribble())
        try:
            assert b" 200 " not in await ended(reader)
        finally:
            slow.cancel()
            writer.transport.abort()


async def test_a_connection_ends_with_its_answer(node: Node) -> None:
    async with serve_http(node, "127.0.0.1", 0, patience_seconds=600) as port:
        question = b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n"
        async with opened(port, question) as reader:
            answer = await ended(reader)
    assert b" 200 OK" in answer
    assert b"Connection: close" in answer


async def test_one_who_reads_no_answer_is_dropped(node: Node) -> None:
    node.states["stt"] = PartState(True, "x" * 50_000_000)  # more than the buffers between the two hold
    async with serve_http(node, "127.0.0.1", 0, patience_seconds=0.5) as port:
        before = open_files()
        with socket.create_connection(("127.0.0.1", port)) as deaf:
            deaf.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            async with asyncio.timeout(20):
                while open_files() < before + 2:  # noqa: ASYNC110  # the server has no event for it
                    await asyncio.sleep(0.01)
                while open_files() > before + 1:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)


def open_files() -> int:
    """Of this process, which is the server and the client."""
    return len(os.listdir("/proc/self/fd"))


async def test_one_connection_too_many_takes_the_place_of_the_oldest_and_is_answered(node: Node) -> None:
    async with (
        serve_http(node, "127.0.0.1", 0, patience_seconds=600, most_connections=3) as port,
        AsyncExitStack() as idle,
    ):
        readers = [await idle.enter_async_context(opened(port)) for _ in range(3)]
        async with opened(port, b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n") as reader:
            assert b" 200 OK" in await ended(reader)
        assert await ended(readers[0]) == b""
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await readers[1].read()


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(b"X: " + b"y" * 3000 + b"\r\n", id="long"),
        pytest.param(b"X: y\r\n" * 100, id="many"),
    ],
)
async def test_headers_that_no_check_sends_are_refused(node: Node, header: bytes) -> None:
    request = b"GET /health HTTP/1.1\r\n" + header + b"\r\n"
    async with serve_http(node, "127.0.0.1", 0, patience_seconds=600) as port, opened(port, request) as reader:
        assert b" 400 " in (await ended(reader)).split(b"\r\n")[0]


async def test_a_port_in_use_is_an_error_and_not_a_silent_node(node: Node) -> None:
    port = int(node.url.rpartition(":")[2])
    with pytest.raises(OSError, match="address already in use"):
        async with serve_http(node, "127.0.0.1", port):
            pass
