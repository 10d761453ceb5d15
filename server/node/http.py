"""The node's HTTP side, on a port of its own: /health (alive), /ready (wants calls), /in-service (keeps its place at
the load balancer), /metrics (Prometheus) and /talk.

It answers questions about the node and changes nothing; what the talk page asks is answered in `server.talk`. A
connection has one question and little time for it, so that nobody who is slow or silent keeps a place. Readiness is not
liveness: a full or draining node says 503 on /ready, keeps its calls and is healthy. A node is alive as long as its
event loop answers at all.

/in-service is for a load balancer that may end the connections of a target whose checks fail, as AWS's does of one that
is deregistered while it is unhealthy. So a full node passes: who comes is refused at the handshake, and tries again.
And so does one that the balancer is letting go of: it sends no new calls, and is to keep those that there are.
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
from server.access.admission import Admission, Draining
from server.observability.metrics import REGISTRY, event_loop_tasks
from server.talk.page import TalkPage, is_of_page
from server.waiting_room import WaitingRoom

_Handler = Callable[[], Awaitable[web.Response]]
_NOTHING_CACHED = {"Cache-Control": "no-store"}

PATIENCE_SECONDS = 10.0
"""From a connection's start to its end: a question is a line and an answer leaves in milliseconds."""

MOST_CONNECTIONS = 128
"""At once: a load balancer's checks and a scraper have a handful."""

_LONGEST_LINE, _MOST_HEADERS = 2048, 64  # bytes of the request's line and of each header; headers of a request


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

    @property
    def deregistered(self) -> bool:
        """Whether the load balancer has been told to send no more calls here."""
        ...

    def parts(self) -> Mapping[str, PartState]:
        """Each part's state now, by its name. Must not block."""
        ...

    @property
    def talk(self) -> TalkPage | None:
        """The page to talk to the node with; None while no calls are taken."""
        ...


@asynccontextmanager
async def serve_http(
    node: NodeState,
    host: str,
    port: int,
    *,
    patience_seconds: float = PATIENCE_SECONDS,
    most_connections: int = MOST_CONNECTIONS,
) -> AsyncIterator[int]:
    """Serve on `host` and `port` (0 takes a free one) inside the block; gives the port. Raises `OSError`.

    A connection ends with its answer, after `patience_seconds` at the latest. One more than `most_connections` takes
    the place of the oldest: a check that comes now has its answer before its turn to go.
    """
    server = _BoundedServer(_answering(node), patience_seconds, most_connections)
    runner = web.ServerRunner(server, handle_signals=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


class _BoundedServer(web.Server):
    """A server whose connections are few and short, whatever the other side does or leaves undone."""

    def __init__(
        self, answer: Callable[[web.BaseRequest], Awaitable[web.Response]], patience_seconds: float, most: int
    ) -> None:
        super().__init__(
            answer,
            access_log=None,
            max_line_size=_LONGEST_LINE,
            max_field_size=_LONGEST_LINE,
            max_headers=_MOST_HEADERS,
        )
        self._patience_seconds = patience_seconds
        self._open = WaitingRoom(most)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._open.enter(handler, transport, self._patience_seconds)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        self._open.leave(handler)
        super().connection_lost(handler, exc)


def _answering(node: NodeState) -> Callable[[web.BaseRequest], Awaitable[web.Response]]:
    """Answers to requests for these addresses; any other is 404, any method but GET and HEAD 405, in JSON."""
    started = time.monotonic()

    async def health() -> web.Response:
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

    def not_serving() -> list[str]:
        return [f"{name} not serving" for name in missing_parts(node.parts())]

    async def ready() -> web.Response:
        reasons = not_serving()
        headers = {}
        if refusal := node.admission.refusal:
            reasons.insert(0, refusal.reason)
            headers["Retry-After"] = str(refusal.retry_after)
        return _json(503 if reasons else 200, {"ready": not reasons, "reasons": reasons}, headers)

    async def in_service() -> web.Response:
        reasons = not_serving()
        if node.admission.draining:
            reasons.insert(0, Draining.reason)
        if node.deregistered:
            reasons = []
        return _json(503 if reasons else 200, {"in_service": not reasons, "reasons": reasons})

    async def metrics() -> web.Response:
        event_loop_tasks.set(len(asyncio.all_tasks()))
        body = await asyncio.to_thread(generate_latest, REGISTRY)  # reads /proc and formats: not the loop's work
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST} | _NOTHING_CACHED)

    addresses: Mapping[str, _Handler] = {
        "/health": health,
        "/ready": ready,
        "/in-service": in_service,
        "/metrics": metrics,
    }

    async def answer(request: web.BaseRequest) -> web.Response:
        if is_of_page(request.path):
            page = node.talk
            response = page.answer(request) if page else _json(503, {"error": "the node does not take calls yet"})
        elif request.method not in ("GET", "HEAD"):
            response = _json(405, {"error": "this address takes GET and HEAD"}, {"Allow": "GET, HEAD"})
        elif handler := addresses.get(request.path):
            response = await handler()
        else:
            known = "/health, /ready, /in-service, /metrics and /talk"
            response = _json(404, {"error": f"no such address; there are {known}"})
        response.force_close()
        return response

    return answer


def _json(status: int, content: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status,
        text=json.dumps(content),
        content_type="application/json",
        headers={**_NOTHING_CACHED, **(headers or {})},
    )
