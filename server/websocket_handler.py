"""The WebSocket side, on :9000: the opening handshake (path, origin, credentials, admission), then a session each.

It decides who gets in, and turns whatever ends a call into a close code. What is said on a call is the session's.
"""

import secrets
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from typing import Literal
from urllib.parse import parse_qs, urlsplit

import structlog
from websockets import ConnectionClosed, Subprotocol
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.protocol import State

from server.access.admission import Admission, AdmissionRefused, CallerAtCapacity
from server.access.auth import CLOCK_SKEW_SECONDS, Authenticator, InvalidCredentials, Principal, credential_from
from server.access.call_time import CallTime
from server.access.passes import Passes
from server.access.ticket_errors import TicketRefused
from server.access.tickets import TicketKeys
from server.addresses import is_loopback
from server.connection import Connection
from server.conversation.conversation import Conversation
from server.dialects.dialect import Abilities
from server.dialects.openai.dialect import OpenAiDialect
from server.dialects.openai.session import Session as OpenAiSession
from server.limits import Limits
from server.observability import metrics
from server.outbox import SlowClient
from server.pipeline import CallOver, Parts, Session
from server.resumption import Resumption, TicketOffice
from server.settings.loading import SettingsError
from server.settings.settings import Settings
from server.spoken_lines import SpokenLines

log = structlog.get_logger(__name__)

REALTIME_PATHS = ("/v1/realtime", "/openai/v1/realtime")
_SUBPROTOCOL = Subprotocol("realtime")
# Load balancers drop quiet sockets after about a minute, and a half-open one must not hold a place for longer.
_PING_INTERVAL_SECONDS = 20.0
_PING_TIMEOUT_SECONDS = 20.0
_HANDSHAKE_SECONDS = 10.0
# Bytes that wait in the process before a session's writer has to; about one second of audio as base64.
_WRITE_LIMIT_BYTES = 65_536
_DEFAULT_MODEL = "voicefleet"
# The client closed the connection, with the code of a call that is over or without any. A page that is left says 1001.
_HUNG_UP = (1000, 1005)

CutReason = Literal["slow_client", "ping_timeout"]
"""Why the node gave a connection up."""


class Gateway:
    """Takes callers in and serves them."""

    def __init__(
        self, settings: Settings, parts: Parts, admission: Admission, tls: ssl.SSLContext | None = None
    ) -> None:
        self._settings = settings
        self._limits = Limits.of(settings)
        self._lines = SpokenLines.of(settings.stt_language, settings.spoken_lines)
        self._tls = tls
        self._parts = parts
        self._admission = admission
        self._calls: dict[CallTime, Principal | None] = {}
        # Without a secret of the fleet's, nobody but this process opens its tickets.
        self._own_secret = secrets.token_hex(32)
        self._passes = Passes()
        self._tickets = TicketOffice([self._own_secret], settings.resume_seconds, settings.max_message_bytes // 2)
        self.take_keys(settings)

    def take_keys(self, settings: Settings) -> None:
        """From now on callers are let in by the keys and the token secrets of these settings; calls by others end."""
        held = settings.token_secrets
        self._authenticator = Authenticator(settings.api_keys, *held) if settings.needs_auth else None
        self._tickets.keys = TicketKeys(held or [self._own_secret])
        for call_time, principal in self._calls.items():
            self._end_if_withdrawn(call_time, principal)

    def _end_if_withdrawn(self, call_time: CallTime, principal: Principal | None) -> None:
        if principal and self._authenticator and not self._authenticator.still_accepts(principal):
            call_time.revoke(time.monotonic())

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[int]:
        """Serve inside the block; gives the port. Leaving it closes every call with 1001 (going away).

        Raises `OSError`.
        """
        settings = self._settings
        async with serve(
            self._handle,
            settings.host,
            settings.port,
            process_request=self._check_request,
            process_response=self._admit,
            select_subprotocol=_select_subprotocol,
            create_connection=partial(Connection, limits=self._limits),  # type: ignore[arg-type]  # it only calls it
            ssl=self._tls,
            compression=None,  # audio does not compress, and the attempt costs memory for every call
            max_size=settings.max_message_bytes,
            open_timeout=_HANDSHAKE_SECONDS,
            ping_interval=_PING_INTERVAL_SECONDS,
            ping_timeout=_PING_TIMEOUT_SECONDS,
            write_limit=_WRITE_LIMIT_BYTES,
            server_header="voicefleet",
        ) as server:
            yield next(iter(server.sockets)).getsockname()[1]

    def give_pass(self, credential: str | None) -> str | None:
        """A pass for a call of whoever shows `credential`; None where nobody needs one. Raises `InvalidCredentials`."""
        if self._authenticator is None:
            return None
        return self._passes.give(self._authenticator.authenticate(credential), time.monotonic())

    # --- the handshake

    def _check_request(self, connection: ServerConnection, request: Request) -> Response | None:
        path = request.path.partition("?")[0].rstrip("/")
        if path not in REALTIME_PATHS:
            return self._refuse(connection, HTTPStatus.NOT_FOUND, "path", f"no such path; takes {REALTIME_PATHS[0]}")
        if not all(self.takes_origin(origin) for origin in request.headers.get_all("Origin")):
            return self._refuse(
                connection,
                HTTPStatus.FORBIDDEN,
                "origin",
                "pages of this origin may not call; see VOICE_ALLOWED_ORIGINS",
            )
        offered = _offered_subprotocols(request)
        if offered and _SUBPROTOCOL not in offered:
            return self._refuse(
                connection,
                HTTPStatus.BAD_REQUEST,
                "subprotocol",
                f"no such subprotocol; takes {_SUBPROTOCOL!r} or none",
            )
        if self._authenticator:
            try:
                credential = credential_from(request.headers, offered)
                with_pass = self._passes.take(credential, time.monotonic())
                _ours(connection).principal = with_pass or self._authenticator.authenticate(credential)
            except InvalidCredentials as error:
                response = self._refuse(connection, HTTPStatus.UNAUTHORIZED, "credentials", str(error))
                response.headers["WWW-Authenticate"] = "Bearer"
                return response
        if text := _in_query(request, "resume"):
            try:
                _ours(connection).ticket = self._tickets.open(text, _ours(connection).principal)
            except TicketRefused as error:
                metrics.tickets_refused.labels(error.reason).inc()
                return self._refuse(connection, HTTPStatus.BAD_REQUEST, "ticket", f"{error.code}: {error}")
        return None

    def _admit(self, connection: ServerConnection, request: Request, response: Response) -> Response | None:
        """Admission comes last, so that a handshake that fails for another reason takes no place."""
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            return None
        if connection.state is not State.CONNECTING:  # the caller hung up on its own handshake: no place to give back
            return None
        if self._takes_over_place(_ours(connection)):
            return None
        try:
            _ours(connection).lease = self._admission.admit(_ours(connection).principal)
        except AdmissionRefused as refusal:
            of_node = not isinstance(refusal, CallerAtCapacity)
            status = HTTPStatus.SERVICE_UNAVAILABLE if of_node else HTTPStatus.TOO_MANY_REQUESTS
            refused = self._refuse(connection, status, refusal.reason, str(refusal))
            refused.headers["Retry-After"] = str(refusal.retry_after)
            return refused
        return None

    def _takes_over_place(self, connection: Connection) -> bool:
        """Whether it resumes a call whose older connection, which may be half-open, still holds a place here."""
        if connection.ticket is None or self._admission.draining:
            return False
        older = self._tickets.call(connection.ticket.call_id)
        connection.lease = older.lease.hand_over() if older else None
        return connection.lease is not None

    def _refuse(self, connection: ServerConnection, status: HTTPStatus, reason: str, text: str) -> Response:
        metrics.handshakes_refused.labels(reason).inc()
        log.info("handshake_refused", reason=reason, status=status.value)
        return connection.respond(status, text + "\n")

    def takes_origin(self, origin: str) -> bool:
        """Whether pages of that origin may call; only browsers send one.

        Where anyone may call, any page could; so there only local pages may.
        """
        allowed = self._settings.allowed_origins
        return origin in allowed if allowed else self._authenticator is not None or _is_local_page(origin)

    # --- the call

    async def _handle(self, connection: ServerConnection) -> None:
        session_id = f"sess_{secrets.token_hex(8)}"
        structlog.contextvars.bind_contextvars(session_id=session_id)
        principal, lease = _ours(connection).principal, _ours(connection).lease
        assert lease, "who is let in has a place"
        log.info("session_started", principal=principal.id if principal else "local")
        started = time.monotonic()
        call_time = self._call_time(principal, started)
        self._calls[call_time] = principal
        self._end_if_withdrawn(call_time, principal)  # the keys may have changed during the handshake
        resumption = Resumption(self._tickets, self._admission, lease, principal, session_id)
        session = self._session(session_id, connection, call_time, resumption)
        in_order = False
        try:
            await session.run(_messages(connection), _ours(connection).ticket)
            in_order = connection.close_code in _HUNG_UP
        except* SlowClient:
            _note_cut("slow_client")
            await _close(connection, 1008, "the client reads too slowly")
        except* CallOver as over:
            in_order = True
            [ended] = [error for error in over.exceptions if isinstance(error, CallOver)]
            metrics.calls_ended.labels(ended.reason).inc()
            log.info("session_limited", reason=ended.reason)
            await _close(connection, 1000, ended.reason)
        except* ConnectionClosed:
            pass  # while sending; the client is gone
        except* Exception:
            log.exception("session_failed")
            await _close(connection, 1011, "internal error")
        finally:
            del self._calls[call_time]
            resumption.leave(in_order)
            if _ours(connection).ping_timed_out:
                _note_cut("ping_timeout")
            seconds = time.monotonic() - started
            metrics.session_seconds.observe(seconds)
            log.info("session_ended", seconds=round(seconds, 3), close_code=connection.close_code)

    def _call_time(self, principal: Principal | None, now: float) -> CallTime:
        expires = None
        if principal and principal.expires_at is not None:
            left = principal.expires_at - time.time()
            # One that is let in though its token has expired has a back end whose clock is behind ours.
            expires = now + (left if left > 0 else left + CLOCK_SKEW_SECONDS)
        return CallTime(now, self._settings.max_call_seconds, self._settings.max_idle_seconds, expires)

    def _session(
        self, session_id: str, connection: ServerConnection, call_time: CallTime, resumption: Resumption
    ) -> Session:
        assert connection.request is not None, "a call begins after the handshake"
        model = _in_query(connection.request, "model") or _DEFAULT_MODEL
        wire = OpenAiSession(id=session_id, model=model, instructions=self._settings.instructions)
        tokens, speculation = self._settings.llm_context_tokens, self._settings.effective_speculation
        conversation = Conversation(wire.config(), _new_id, tokens, self._limits, speculation, self._lines)
        abilities = Abilities(
            calls_functions=self._settings.llm != ("local",),  # a model of that size fills them with nonsense
            languages=self._parts.stt.languages,
        )
        dialect = OpenAiDialect(wire, conversation, _new_id, abilities)

        async def send(message: bytes) -> None:
            await connection.send(message, text=True)

        return Session(self._parts, self._settings, conversation, dialect, send, call_time, resumption)


def _ours(connection: ServerConnection) -> Connection:
    """What `create_connection` made; websockets' own types forget it."""
    assert isinstance(connection, Connection)
    return connection


def _note_cut(reason: CutReason) -> None:
    metrics.calls_ended.labels(reason).inc()
    log.warning("session_cut", reason=reason)


async def _close(connection: ServerConnection, code: int, reason: str) -> None:
    """Close it, and drop what the client still said: a connection outlives its call until the collector finds it."""
    await connection.close(code, reason)
    async for _ in _messages(connection):
        pass


async def _messages(connection: ServerConnection) -> AsyncIterator[str | bytes]:
    """The client's messages until it leaves, however it does."""
    try:
        while True:
            yield await connection.recv()
    except ConnectionClosed:
        return


def _new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(8)}"


def _is_local_page(origin: str) -> bool:
    try:
        return is_loopback(urlsplit(origin).hostname or "")
    except ValueError:  # no URL at all
        return False


def _in_query(request: Request, name: str) -> str:
    """The value of a parameter of the URL; empty if it has none."""
    return parse_qs(request.path.partition("?")[2]).get(name, [""])[0]


def _offered_subprotocols(request: Request) -> list[str]:
    values = request.headers.get_all("Sec-WebSocket-Protocol")
    return [name.strip() for value in values for name in value.split(",")]


def _select_subprotocol(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """A browser shows its key as a second subprotocol, which must not be echoed."""
    return _SUBPROTOCOL if _SUBPROTOCOL in offered else None


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """What the settings' certificate makes of the port; None where there is none. Raises `SettingsError`."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except OSError as error:  # `ssl.SSLError` is one, and neither says which file it means
        raise SettingsError(
            f"VOICE_TLS_CERT, VOICE_TLS_KEY: got {str(settings.tls_cert)!r} and {str(settings.tls_key)!r}, which can't "
            f"be used ({error.strerror}); takes a certificate chain and its private key, both PEM"
        ) from None
    return context
