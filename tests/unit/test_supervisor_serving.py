"""A worker's server: when it says that it serves, and how it ends."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from server.workers import serving
from server.workers.client import open_channel, wait_until_serving
from server.workers.serving import REFUSES, CannotServe, serve


@pytest.fixture
def address() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="voice") as folder:
        yield f"unix:{folder}/worker.sock"


def _registers_nothing(server: grpc.aio.Server) -> None:
    pass


async def _health(address: str) -> int:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        reply = await stub.Check(health_pb2.HealthCheckRequest(), timeout=5, wait_for_ready=True)
        return int(reply.status)


async def test_a_worker_serves_only_once_it_is_warm(address: str) -> None:
    warm = asyncio.Event()

    async def warm_up() -> None:
        await warm.wait()

    async with asyncio.TaskGroup() as tasks:
        server = tasks.create_task(serve(address, _registers_nothing, warm_up))
        assert await _health(address) == health_pb2.HealthCheckResponse.NOT_SERVING
        warm.set()
        async with open_channel(address) as channel:
            assert await wait_until_serving(channel, 5)
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(5):
            await server


async def test_a_worker_whose_device_is_lost_says_that_it_does_not_serve_until_it_is_back(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "_HEALTH_SECONDS", 0.01)
    healthy = True

    async def warm_up() -> None:
        pass

    async def until(status: int) -> None:
        async with asyncio.timeout(5):
            while await _health(address) != status:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as tasks:
        server = tasks.create_task(serve(address, _registers_nothing, warm_up, lambda: healthy))
        await until(health_pb2.HealthCheckResponse.SERVING)
        healthy = False
        await until(health_pb2.HealthCheckResponse.NOT_SERVING)
        healthy = True
        await until(health_pb2.HealthCheckResponse.SERVING)
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(5):
            await server


async def test_an_address_that_cannot_be_had_is_named() -> None:
    async def warm_up() -> None:
        pass

    with pytest.raises(CannotServe, match=r"'unix:/nowhere/worker\.sock', which can't be listened on"):
        await serve("unix:/nowhere/worker.sock", _registers_nothing, warm_up)


async def test_a_worker_that_cannot_warm_up_fails(address: str) -> None:
    async def warm_up() -> None:
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        await serve(address, _registers_nothing, warm_up)


@pytest.mark.parametrize("worker", ["stt", "tts"])
def test_a_worker_whose_parent_is_gone_does_not_start(worker: str, address: str) -> None:
    arguments = [sys.executable, "-m", f"server.workers.{worker}_worker", "--address", address, "--parent", "1"]
    ended = subprocess.run(arguments, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert ended.stderr.strip() == "the parent process 1 is gone"


def test_a_wrong_setting_is_told_in_one_line(address: str) -> None:
    arguments = [sys.executable, "-m", "server.workers.stt_worker", "--address", address]
    environment = os.environ | {"VOICE_STT_MODEL": "enormous"}
    ended = subprocess.run(arguments, capture_output=True, text=True, timeout=30, check=False, env=environment)
    assert ended.returncode == REFUSES
    (said,) = ended.stderr.splitlines()
    assert said.startswith("VOICE_STT_MODEL: got 'enormous'; takes 'tiny.en' or 'base' or 'small', or the path")
