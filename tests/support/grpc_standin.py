"""A gRPC server in the test's own process, at whose workers' misbehaviour tests can look closely."""

import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


@asynccontextmanager
async def serving(register: Callable[[grpc.aio.Server], None], address: str = "") -> AsyncIterator[str]:
    """Serve what `register` adds beside a health service that says SERVING; gives the address, if need be a new one."""
    server = grpc.aio.server()
    servicer = health.aio.HealthServicer()
    await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    register(server)
    with tempfile.TemporaryDirectory(prefix="voice") as folder:
        address = address or f"unix:{folder}/worker.sock"
        server.add_insecure_port(address)
        await server.start()
        try:
            yield address
        finally:
            await server.stop(None)
