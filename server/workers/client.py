"""How the gateway and the supervisor reach a worker: one kind of channel, and its health.

It knows nothing of what the workers do.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from server.settings.loading import SettingsError
from server.settings.settings import Settings
from server.workers.guard import TOKEN_KEY

POLL_SECONDS = 0.1
"""Between two looks at a worker that is awaited."""

CHECK_SECONDS = 1.0
"""Between two looks at a worker that serves, and how long it may take to answer one."""

# A worker that was restarted is back within seconds; gRPC's own pauses between tries to connect grow to minutes.
_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.max_receive_message_length", 1024 * 1024),  # twenty seconds of audio; chunks have up to four
    ("grpc.http2.bdp_probe", 0),  # it lets a worker send 16 MB ahead of what is read
    ("grpc.http2.lookahead_bytes", 256 * 1024),  # five seconds of audio
    ("grpc.keepalive_time_ms", 10_000),  # a machine that vanished closes no connection
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.enable_http_proxy", 0),  # that is for the web; workers are neighbours
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the gateway shows to workers on TCP, and what it wants to see of them."""

    token: str | None = field(default=None, repr=False)
    tls: grpc.ChannelCredentials | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Raises `SettingsError` for a file that holds no certificates."""
        token = settings.worker_token.get_secret_value() if settings.worker_token else None
        if settings.tts_ca_file is None:
            return cls(token)
        try:
            ssl.create_default_context(cafile=settings.tts_ca_file)  # gRPC takes any bytes, and then trusts nobody
            return cls(token, grpc.ssl_channel_credentials(settings.tts_ca_file.read_bytes()))
        except OSError as error:
            raise SettingsError(
                f"VOICE_TTS_CA_FILE: got {str(settings.tts_ca_file)!r}, which can't be used ({error.strerror}); takes "
                "certificates in PEM"
            ) from None

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with every call."""
        return ((TOKEN_KEY, f"Bearer {self.token}"),) if self.token else ()


def open_channel(address: str, tls: grpc.ChannelCredentials | None = None) -> grpc.aio.Channel:
    """A channel to the worker at `address`; it connects, and connects again, by itself. A unix socket needs no TLS."""
    if tls is None or address.startswith("unix:"):
        return grpc.aio.insecure_channel(address, options=_OPTIONS)
    return grpc.aio.secure_channel(address, tls, options=_OPTIONS)


async def says_serving(channel: grpc.aio.Channel, timeout: float) -> bool:
    """Whether the worker answers that it serves. Raises `grpc.aio.AioRpcError` where no answer came in time."""
    reply = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=timeout)
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)


async def is_serving(channel: grpc.aio.Channel, timeout: float) -> bool:
    """Whether the worker says within `timeout` seconds that it serves."""
    try:
        return await says_serving(channel, timeout)
    except Exception:  # gRPC has more errors than AioRpcError, and none of them is a worker that serves
        return False


async def wait_until_serving(channel: grpc.aio.Channel, timeout: float) -> bool:
    """Whether the worker came to serve within `timeout` seconds."""
    try:
        async with asyncio.timeout(timeout):
            while True:
                if await is_serving(channel, CHECK_SECONDS):
                    return True
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        return False


async def watch_health(address: str) -> AsyncIterator[bool]:
    """Whether the worker at `address` serves, every second."""
    async with open_channel(address) as channel:
        while True:
            yield await is_serving(channel, CHECK_SECONDS)
            await asyncio.sleep(CHECK_SECONDS)
