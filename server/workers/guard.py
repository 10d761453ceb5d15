"""Who may call a worker: decided by what a call shows first, before a byte of its message is taken in.

gRPC reads a message for a method that takes one. So whoever is turned away, and whoever asks only for the worker's
health, is answered by a method that takes a stream of them, and reads none.
"""

import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2

TOKEN_KEY = "authorization"  # noqa: S105  # the metadata's name
_HEALTH = "grpc.health.v1.Health"


class TokenGuard(grpc.aio.ServerInterceptor):  # type: ignore[misc] # grpc has no types
    """Lets in who shows the token.

    The health service stays open: load balancers and probes have no secret, and it tells nothing but its health.
    """

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()
        self._refusal = grpc.stream_stream_rpc_method_handler(_refuse)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """Every call passes here before its method."""
        if handler_call_details.method.startswith(f"/{_HEALTH}/") or self._is_known(handler_call_details):
            return await continuation(handler_call_details)
        return self._refusal

    def _is_known(self, details: grpc.HandlerCallDetails) -> bool:
        shown = [value for key, value in details.invocation_metadata if key == TOKEN_KEY]
        return len(shown) == 1 and hmac.compare_digest(shown[0].encode(), self._expected)


async def _refuse(_: Any, context: "grpc.aio.ServicerContext[Any, Any]") -> None:
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, "this worker takes calls that show its VOICE_WORKER_TOKEN")


def health_handler(servicer: health.aio.HealthServicer) -> grpc.GenericRpcHandler:
    """The standard health service, of the worker as a whole, whichever service a request names."""
    whole = health_pb2.HealthCheckRequest()

    async def check(_: AsyncIterator[bytes], context: "grpc.aio.ServicerContext[Any, Any]") -> Any:
        return await servicer.Check(whole, context)

    async def watch(_: AsyncIterator[bytes], context: "grpc.aio.ServicerContext[Any, Any]") -> None:
        await servicer.Watch(whole, context)

    encode = health_pb2.HealthCheckResponse.SerializeToString
    return grpc.method_handlers_generic_handler(
        _HEALTH,
        {
            "Check": grpc.stream_unary_rpc_method_handler(check, response_serializer=encode),
            "Watch": grpc.stream_stream_rpc_method_handler(watch, response_serializer=encode),
        },
    )
