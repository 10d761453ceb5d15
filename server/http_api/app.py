"""The HTTP side of the port of calls: its routes, and what holds for every request.

That is: from which pages, with which credential, how many at once, errors in OpenAI's shape, metrics. What a request
says and what it is answered reaches no log.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from server.access.admission import Admission
from server.access.auth import InvalidCredentials
from server.access.entrance import Entrance
from server.http_api.callers import CALLER
from server.http_api.client_secrets import ClientSecretMaker
from server.http_api.errors import ApiError, as_api_error
from server.http_api.models import Models
from server.http_api.speech import SpeechMaker
from server.http_api.streams import STREAM, Stream
from server.http_api.transcriptions import Transcriber
from server.observability import metrics
from server.pipeline import Parts
from server.settings.settings import Settings

log = structlog.get_logger(__name__)
_NO_LOGGER = logging.getLogger(f"{__name__}.malformed")
_NO_LOGGER.disabled = True

_IDLE_SECONDS = 30.0  # between two requests of a connection; for the headers of one
_MOST_REQUESTS, _MOST_CONNECTIONS = 512, 1024
_STOP_SECONDS = 1.0  # for requests in progress when the node stops; a drain has waited for them before
_CREDENTIAL_HEADERS = ("Authorization", "api-key")
_PREFLIGHT = {"Access-Control-Allow-Methods": "GET, POST", "Access-Control-Max-Age": "600"}


class HttpApi:
    """Serves requests with the `parts` that calls have."""

    def __init__(self, settings: Settings, parts: Parts, admission: Admission, entrance: Entrance) -> None:
        self._entrance = entrance
        self._retry_after = str(settings.retry_after_seconds)
        self._busy: set[web.RequestHandler] = set()
        models = Models(settings)
        client_secrets = ClientSecretMaker(settings, parts, entrance)
        transcriber = Transcriber(settings, parts, admission)
        speech = SpeechMaker(parts.tts, admission)
        self._app = web.Application(client_max_size=settings.max_message_bytes, middlewares=[self._answer])
        self._app.on_response_prepare.append(self._complete)
        for prefix in ("/v1", "/openai/v1"):
            self._app.add_routes(
                [
                    web.get(f"{prefix}/realtime", _no_call),
                    web.get(f"{prefix}/models", models.list),
                    web.get(f"{prefix}/models/{{id}}", models.show),
                    web.post(f"{prefix}/realtime/client_secrets", client_secrets.make),
                    web.post(f"{prefix}/audio/transcriptions", transcriber.transcribe),
                    web.post(f"{prefix}/audio/speech", speech.speak),
                ]
            )

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Callable[[], asyncio.Protocol]]:
        """Serve inside the block; gives what makes a protocol for a connection. Leaving it ends them all."""
        runner = web.AppRunner(
            self._app,
            access_log=None,
            auto_decompress=False,  # a small body stays a small one
            logger=_NO_LOGGER,  # it tells of requests that are malformed, and of nothing else
            handler_cancellation=True,  # a client that leaves frees recogniser and voice
            keepalive_timeout=_IDLE_SECONDS,
            shutdown_timeout=_STOP_SECONDS,
        )
        await runner.setup()
        server = runner.server
        assert server

        def protocol() -> asyncio.Protocol:
            connections = server.connections
            if len(connections) >= _MOST_CONNECTIONS:  # the oldest that waits for a request goes
                oldest = next(each for each in connections if each not in self._busy)
                oldest.force_close()
            return server()

        try:
            yield protocol
        finally:
            await runner.cleanup()

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        structlog.contextvars.bind_contextvars(request_id=f"req_{secrets.token_hex(8)}")
        resource = request.match_info.route.resource
        path = resource.canonical.removeprefix("/openai") if resource else "other"
        started, status = time.monotonic(), 0
        try:
            with metrics.http_requests_in_progress.track_inprogress():
                response = await self._respond(request, handler)
            status = response.status
            return response
        finally:
            seconds = time.monotonic() - started
            metrics.http_requests.labels(path, status).inc()
            metrics.http_request_seconds.labels(path).observe(seconds)
            caller = request.get(CALLER)
            principal = caller.principal.id if caller and caller.principal else "local"
            log.info("http_request", path=path, status=status, seconds=round(seconds, 3), principal=principal)

    async def _respond(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._busy.add(request.protocol)
        try:
            return await self._let_in(request, handler)
        except ConnectionError:
            raise
        except Exception as error:
            told = as_api_error(error)
            if told is None:
                log.exception("request_failed")
                told = ApiError(500, "internal_error", "an error of the node's, which is in its log")
            stream: Stream | None = request.get(STREAM)
            if stream:
                return await stream.break_off(told)
            return _refusal(told)
        finally:
            self._busy.discard(request.protocol)

    async def _let_in(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if len(self._busy) > _MOST_REQUESTS:
            headers = {"Retry-After": self._retry_after}
            raise ApiError(503, "full", f"takes {_MOST_REQUESTS} requests at once", headers=headers)
        if not all(map(self._entrance.allows_origin, request.headers.getall("Origin", ()))):
            raise ApiError(403, "origin", "pages of this origin may not call; see VOICE_ALLOWED_ORIGINS")
        if request.method == "OPTIONS":  # a browser asks before a page's request, without its credential
            asked = request.headers.get("Access-Control-Request-Headers", "")
            return web.Response(status=204, headers=_PREFLIGHT | {"Access-Control-Allow-Headers": asked})
        if any(len(request.headers.getall(name, ())) > 1 for name in _CREDENTIAL_HEADERS):
            raise InvalidCredentials("malformed")
        request[CALLER] = self._entrance.identify(request.headers)
        return await handler(request)

    async def _complete(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Server"] = "voicefleet"
        response.headers["x-request-id"] = structlog.contextvars.get_contextvars().get("request_id", "")
        if (origin := request.headers.get("Origin")) and response.status != 403:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = "Retry-After, x-request-id"
            response.headers["Vary"] = "Origin"


def _refusal(error: ApiError) -> web.Response:
    return web.Response(status=error.status, body=error.body(), content_type="application/json", headers=error.headers)


async def _no_call(_: web.Request) -> web.StreamResponse:
    response = _refusal(ApiError(426, "call_on_used_connection", "a call takes a connection of its own"))
    response.force_close()
    return response
