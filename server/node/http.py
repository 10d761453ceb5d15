"""The node's HTTP side, on a port of its own: /health (alive), /ready (wants calls) and /metrics (Prometheus).

It answers questions about the node and changes nothing. Readiness is not liveness: a full or draining node says 503 on
/ready, keeps its calls and is healthy. A node is alive as long as its event loop answers at all.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from server import __version__
from server.access.admission import Admission
from server.observability.metrics import REGISTRY

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_NOTHING_CACHED = {"Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class PartState:
    """How a part of the node (vad, stt, tts, llm) is.

    `detail` is a few words for a person, such as "tiny.en on cpu" or "starting". Without a part that is `required` the
    node is not ready; without any other it only counts as degraded, as its calls have a fallback.
    """

    serving: bool
    detail: str = ""
    required: bool = True


def missing_parts(parts: Mapping[str, PartState]) -> list[str]:
    """The names of the required parts that do not serve; with any, a node is not ready."""
    return [name for name, part in parts.items() if part.required and not part.serving]


class NodeState(Protocol):
    """What the HTTP side has to know of the node."""

    @property
    def admission(self) -> Admission:
        """The owner of the session count."""
        ...

    def parts(self) -> Mapping[str, PartState]:
        """Each part's state now, by its name. Must not block."""
        ...


@asynccontextmanager
async def serve_http(node: NodeState, host: str, port: int) -> AsyncIterator[int]:
    """Serve on `host` and `port` (0 takes a free one) inside the block; gives the port. Raises `OSError`."""
    runner = web.AppRunner(make_app(node), access_log=None, handle_signals=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def make_app(node: NodeState) -> web.Application:
    """The application with its three addresses; any other is 404, any method but GET and HEAD 405, all in JSON."""
    started = time.monotonic()

    async def health(_: web.Request) -> web.Response:
        parts = node.parts()
        admission = node.admission
        return _json(
            200,
            {
                "status": "ok" if all(part.serving for part in parts.values()) else "degraded",
                "version": __version__,
                "uptime_seconds": round(time.monotonic() - started, 3),
                "sessions": {"active": admission.active, "capacity": admission.limit},
                "parts": {name: asdict(part) for name, part in parts.items()},
            },
        )

    async def ready(_: web.Request) -> web.Response:
        reasons = [f"{name} not serving" for name in missing_parts(node.parts())]
        headers = {}
        if refusal := node.admission.refusal:
            reasons.insert(0, refusal.reason)
            headers["Retry-After"] = str(refusal.retry_after)
        return _json(503 if reasons else 200, {"ready": not reasons, "reasons": reasons}, headers)

    async def metrics(_: web.Request) -> web.Response:
        body = await asyncio.to_thread(generate_latest, REGISTRY)  # reads /proc and formats: not the loop's work
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST} | _NOTHING_CACHED)

    app = web.Application(middlewares=[_errors_in_json], client_max_size=1024)
    app.add_routes([web.get("/health", health), web.get("/ready", ready), web.get("/metrics", metrics)])
    return app


@web.middleware
async def _errors_in_json(request: web.Request, handler: _Handler) -> web.StreamResponse:
    if request.method not in ("GET", "HEAD"):
        return _json(405, {"error": "this address takes GET and HEAD"}, {"Allow": "GET, HEAD"})
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return _json(404, {"error": "no such address; there are /health, /ready and /metrics"})


def _json(status: int, content: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status,
        text=json.dumps(content),
        content_type="application/json",
        headers={**_NOTHING_CACHED, **(headers or {})},
    )
