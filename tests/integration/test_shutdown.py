"""When a node takes calls, and how it ends: SIGTERM lets calls finish; a second one, or SIGINT, waits for nobody."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.live_call import live_call, refusal
from tests.support.node import NodeProcess, running_node
from tests.support.openai_llm_standin import OpenAiStandin
from tests.support.ports import free_ports

SIGNALLED_SECONDS = 10.0


@pytest.fixture
def leaving(quick: dict[str, str]) -> Iterator[NodeProcess]:
    """A node that a test may end."""
    with running_node(**quick) as running:
        yield running


async def test_a_draining_node_takes_no_call_and_lets_its_own_finish(leaving: NodeProcess) -> None:
    async with live_call(leaving.websocket) as call:
        await call.type("one two three four five six seven")
        await call.until("response.output_audio.delta")
        leaving.process.send_signal(signal.SIGTERM)
        await leaving.until(lambda: leaving.get("/ready")[0] == 503)
        assert "draining" in leaving.get("/ready")[1]
        assert leaving.get("/health")[0] == 200
        assert leaving.metric("voice_draining") == 1
        refused = await refusal(leaving.websocket)
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) >= 1
        assert (await call.until("response.done"))["response"]["status"] == "completed"
        assert await call.ask("ping") == "You said: ping"
        assert leaving.process.poll() is None
    assert leaving.process.wait(SIGNALLED_SECONDS) == 0
    assert _complaints(leaving) == []


@pytest.mark.parametrize("insisting", [signal.SIGTERM, signal.SIGINT])
async def test_who_insists_gets_an_end_at_once(
    leaving: NodeProcess, answers: OpenAiStandin, insisting: signal.Signals
) -> None:
    answers.token_seconds = 0.05
    async with live_call(leaving.websocket) as call, live_call(leaving.websocket) as quiet:
        await call.type("word " * 100)
        await call.until("response.output_audio.delta")
        leaving.process.send_signal(signal.SIGTERM)
        await leaving.until(lambda: bool(leaving.events("node_draining")))
        leaving.process.send_signal(insisting)
        assert await call.closed() == 1001
        assert await quiet.closed() == 1001
    assert leaving.process.wait(SIGNALLED_SECONDS) == 0
    assert _complaints(leaving) == []


async def test_a_node_without_calls_ends_at_once(leaving: NodeProcess) -> None:
    leaving.process.send_signal(signal.SIGTERM)
    assert leaving.process.wait(SIGNALLED_SECONDS) == 0
    assert _complaints(leaving) == []


def _complaints(node: NodeProcess) -> list[str]:
    """What it wrote from its start on that a person would have to look at."""
    started = next(index for index, line in enumerate(node.log) if '"node_serving"' in line)
    return [line for line in node.log[started:] if '"level": "info"' not in line]


@pytest.fixture
def starting(quick: dict[str, str]) -> Iterator[tuple[int, int]]:
    """The WebSocket and the HTTP port of a node that has just been started."""
    port, http_port = free_ports(2)
    variables = os.environ | quick | {"VOICE_PORT": str(port), "VOICE_HTTP_PORT": str(http_port)}
    process = subprocess.Popen([sys.executable, "-m", "server.main", "serve"], env=variables, stderr=subprocess.DEVNULL)
    yield port, http_port
    process.terminate()
    assert process.wait(SIGNALLED_SECONDS) == 0


async def test_a_node_that_says_it_is_ready_takes_calls_from_that_moment_on(starting: tuple[int, int]) -> None:
    """A load balancer sends callers as soon as it hears of a node."""
    port, http_port = starting
    listened: list[bool] = []
    async with asyncio.timeout(60):
        while len(listened) < 20:
            if await _says_ready(http_port):
                listened.append(await _listens(port))
    assert all(listened)


async def _says_ready(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.write(b"GET /ready HTTP/1.0\r\n\r\n")
    status = await reader.readline()
    writer.close()
    return b" 200 " in status


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
