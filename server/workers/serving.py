"""What both speech workers are: a gRPC server with the standard health service, warm before it says that it serves.

Once it serves, SIGTERM ends it after the calls in progress. It ends with the process that started it, so that none is
orphaned.
"""

import argparse
import asyncio
import ctypes
import hmac
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from server.addresses import split_address
from server.errors import VoicefleetError
from server.observability import logs
from server.observability.systemd import serving_under_systemd
from server.settings.settings import Settings, load_settings

log = structlog.get_logger(__name__)

MAX_MESSAGE_BYTES = 20 * 1024 * 1024
"""Ten minutes of 16 kHz audio and some."""

THREADS = min(4, len(os.sched_getaffinity(0)))
"""Threads that a worker computes in on a cpu; beyond four the small models gain nothing."""

REFUSES = 2
"""Exit status of a worker that has said why it can't start: the next one would end like it."""

TOKEN_KEY = "authorization"  # noqa: S105  # the metadata's name
_HEALTH_SERVICE = "/grpc.health.v1.Health/"
_HEALTH_SECONDS = 1.0
_GRACE_SECONDS = 5.0
_PR_SET_PDEATHSIG = 1
_Result = TypeVar("_Result")

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),
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
) -> None:
    """Serve what `register` adds until SIGTERM or SIGINT; SERVING after `warm_up`, for as long as it is `healthy`.

    Raises `CannotServe`, and what `warm_up` raises.
    """
    access = access or Access()
    server = grpc.aio.server(options=_OPTIONS, interceptors=[_TokenGuard(access.token)] if access.token else [])
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
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


class _TokenGuard(grpc.aio.ServerInterceptor):  # type: ignore[misc] # grpc has no types
    """Lets in who shows the token.

    The health service stays open: load balancers and probes have no secret, and it tells nothing but its health.
    """

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()
        self._refusal = grpc.unary_unary_rpc_method_handler(_refuse)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """Every call passes here before its method."""
        if handler_call_details.method.startswith(_HEALTH_SERVICE) or self._is_known(handler_call_details):
            return await continuation(handler_call_details)
        return self._refusal

    def _is_known(self, details: grpc.HandlerCallDetails) -> bool:
        shown = [value for key, value in details.invocation_metadata if key == TOKEN_KEY]
        return len(shown) == 1 and hmac.compare_digest(shown[0].encode(), self._expected)


async def _refuse(_: Any, context: "grpc.aio.ServicerContext[Any, Any]") -> None:
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, "this worker takes calls that show its VOICE_WORKER_TOKEN")


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked to be told
        raise SystemExit(f"the parent process {parent} is gone")
