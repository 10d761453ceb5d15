"""What both speech workers are: a gRPC server with the standard health service, warm before it says that it serves.

Once it serves, SIGTERM ends it after the calls in progress. It ends with the process that started it, so that none is
orphaned.
"""

import argparse
import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import grpc
import structlog
from grpc_health.v1 import health, health_pb2

from server.addresses import split_address
from server.errors import VoicefleetError
from server.observability import logs
from server.observability.systemd import serving_under_systemd
from server.settings.loading import load_settings
from server.settings.settings import Settings
from server.workers.guard import TokenGuard, health_handler

log = structlog.get_logger(__name__)

THREADS = min(4, len(os.sched_getaffinity(0)))
"""Threads that a worker computes in on a cpu; beyond four the small models gain nothing."""

REFUSES = 2
"""Exit status of a worker that has said why it can't start: the next one would end like it."""

_TEXT_BYTES = 32 * 1024  # some thousand words; a clause has twenty
_HEALTH_SECONDS = 1.0
_GRACE_SECONDS = 5.0
_PR_SET_PDEATHSIG = 1
_Result = TypeVar("_Result")

_OPTIONS = (
    ("grpc.so_reuseport", 0),
    # Of a message that nobody reads, 64 KB are taken in; else gRPC makes it 16 MB a stream where the way is short.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5000),  # gateways look for connections that died quietly
)


class CannotServe(VoicefleetError):
    """The worker's address can't be had."""


@dataclass(frozen=True, slots=True)
class Access:
    """What a worker on TCP asks of who calls it, and how it proves itself; a unix socket needs neither."""

    token: str | None = field(default=None, repr=False)
    tls: grpc.ServerCredentials | None = None


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
        print(error, file=sys.stderr)
        sys.exit(REFUSES)


async def in_own_thread(call: Callable[..., _Result], *args: object) -> _Result:
    """What `call(*args)` gives, from a thread that the event loop, unlike for its own, does not wait for at its end."""
    thread = ThreadPoolExecutor(1)
    try:
        return await asyncio.get_running_loop().run_in_executor(thread, call, *args)
    finally:
        thread.shutdown(wait=False)


async def serve(
    address: str,
    register: Callable[[grpc.aio.Server], None],
    warm_up: Callable[[], Awaitable[None]],
    healthy: Callable[[], bool] = lambda: True,
    access: Access | None = None,
    max_message_bytes: int = _TEXT_BYTES,
) -> None:
    """Serve what `register` adds until SIGTERM or SIGINT; SERVING after `warm_up`, for as long as it is `healthy`.

    No request is larger than `max_message_bytes`: the default does for text, and not for audio. Raises `CannotServe`,
    and what `warm_up` raises.
    """
    access = access or Access()
    server = grpc.aio.server(
        options=(*_OPTIONS, ("grpc.max_receive_message_length", max_message_bytes)),
        interceptors=[TokenGuard(access.token)] if access.token else [],
    )
    servicer = health.aio.HealthServicer()
    server.add_generic_rpc_handlers([health_handler(servicer)])
    register(server)
    await servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    bound = _listen(server, address, access.tls)
    await server.start()
    log.info("worker_listening", address=bound)
    try:
        await warm_up()
        stopping = asyncio.Event()
        for signum in (signal.SIGTERM, signal.SIGINT):  # until now there was no call to wait for
            asyncio.get_running_loop().add_signal_handler(signum, stopping.set)
        log.info("worker_serving", address=bound)
        async with serving_under_systemd(healthy), asyncio.TaskGroup() as tasks:
            reporting = tasks.create_task(_report_health(servicer, healthy))
            await stopping.wait()
            reporting.cancel()
    finally:
        await servicer.enter_graceful_shutdown()
        await server.stop(_GRACE_SECONDS)


def _listen(server: grpc.aio.Server, address: str, tls: grpc.ServerCredentials | None) -> str:
    """The address that the server then has: port 0 has become a free one."""
    try:
        port = server.add_secure_port(address, tls) if tls else server.add_insecure_port(address)
    except RuntimeError:  # gRPC says no more than that it failed
        raise CannotServe(f"got the address {address!r}, which can't be listened on; takes a free one") from None
    return f"{address.rpartition(':')[0]}:{port}" if split_address(address)[1] == "0" else address


async def _report_health(servicer: health.aio.HealthServicer, healthy: Callable[[], bool]) -> None:
    was_healthy = True
    while True:
        is_healthy = healthy()
        if is_healthy != was_healthy:
            log.warning("worker_healthy" if is_healthy else "worker_unhealthy")
        status = health_pb2.HealthCheckResponse
        await servicer.set("", status.SERVING if is_healthy else status.NOT_SERVING)
        was_healthy = is_healthy
        await asyncio.sleep(_HEALTH_SECONDS)


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked to be told
        raise SystemExit(f"the parent process {parent} is gone")
