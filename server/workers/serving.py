"""What both speech workers are: a gRPC server with the standard health service, warm before it says that it serves.

It ends on SIGTERM after the calls in progress, and with the process that started it, so that none is orphaned.
"""

import argparse
import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from server.errors import VoicefleetError
from server.node import logs
from server.settings import Settings, load_settings

log = structlog.get_logger(__name__)

MAX_MESSAGE_BYTES = 20 * 1024 * 1024
"""Ten minutes of 16 kHz audio and some."""

THREADS = min(4, len(os.sched_getaffinity(0)))
"""Threads that a worker computes in on a cpu; beyond four the small models gain nothing."""

_GRACE_SECONDS = 5.0
_PR_SET_PDEATHSIG = 1


def main(description: str | None, run: Callable[[Settings, str], Coroutine[None, None, None]]) -> None:
    """Run a worker process: `run(settings, address)`, with its options from the command line and the settings."""
    parser = argparse.ArgumentParser(
        description=f"{description}\nEverything else comes from the VOICE_* settings.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--address", required=True, help="gRPC address to serve, such as unix:/run/voicefleet/stt.sock")
    parser.add_argument("--parent", type=int, metavar="PID", help="end when this process, which started this one, does")
    options = parser.parse_args()
    if options.parent is not None:
        _die_with(options.parent)
    try:
        settings = load_settings()
        logs.configure(settings.log_level)
        asyncio.run(run(settings, options.address))
    except VoicefleetError as error:
        raise SystemExit(str(error)) from None


async def serve(
    address: str, register: Callable[[grpc.aio.Server], None], warm_up: Callable[[], Awaitable[None]]
) -> None:
    """Serve what `register` adds, NOT_SERVING until `warm_up` is through, until SIGTERM or SIGINT."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", MAX_MESSAGE_BYTES), ("grpc.so_reuseport", 0)])
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    register(server)
    await servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    server.add_insecure_port(address)
    await server.start()
    stopping = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stopping.set)
    try:
        await warm_up()
        await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
        log.info("worker_serving")
        await stopping.wait()
    finally:
        await servicer.enter_graceful_shutdown()
        await server.stop(_GRACE_SECONDS)


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked to be told
        raise SystemExit(f"the parent process {parent} is gone")
