"""How the gateway and the supervisor reach a worker: one kind of channel, and its health.

It knows nothing of what the workers do.
"""

import asyncio
from collections.abc import AsyncIterator

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from server.workers.serving import MAX_MESSAGE_BYTES

_POLL_SECONDS = 0.1
_CHECK_SECONDS = 1.0

# A worker that was restarted is back within seconds; gRPC's own pauses between tries to connect grow to minutes.
_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
)


def open_channel(address: str) -> grpc.aio.Channel:
    """A channel to the worker at `address`; it connects, and connects again, by itself."""
    return grpc.aio.insecure_channel(address, options=_OPTIONS)


async def is_serving(channel: grpc.aio.Channel, timeout: float) -> bool:
    """Whether the worker says within `timeout` seconds that it serves."""
    stub = health_pb2_grpc.HealthStub(channel)
    try:
        reply = await stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout)
    except grpc.aio.AioRpcError:
        return False
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)


async def wait_until_serving(channel: grpc.aio.Channel, timeout: float) -> bool:
    """Whether the worker came to serve within `timeout` seconds."""
    try:
        async with asyncio.timeout(timeout):
            while True:
                if await is_serving(channel, _CHECK_SECONDS):
                    return True
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        return False


async def watch_health(address: str) -> AsyncIterator[bool]:
    """Whether the worker at `address` serves, every second."""
    async with open_channel(address) as channel:
        while True:
            yield await is_serving(channel, _CHECK_SECONDS)
            await asyncio.sleep(_CHECK_SECONDS)
