"""The WebSocket side, on :9000: the opening handshake (path, origin, credentials, admission), then a session each.

It decides who gets in, and turns whatever ends a call into a close code. What is said on a call is the session's.
"""

import secrets
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
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
from server.access.ticket_errors import TicketRefused
from server.access.tickets import TicketKeys
from server.access.twilio_signature import TwilioSignatures
from server.addresses import is_loopback
from server.connection import Connection
from server.conversation.config import SessionConfig
from server.conversation.conversation import Conversation
from server.dialects.dialect import Abilities, ClientAtFault, Dialect
from server.dialects.openai.dialect import OpenAiDialect
from server.dialects.openai.session import Session as OpenAiSession
from server.dialects.twilio.dialect import TwilioDialect
from server.limits import Limits
from server.observability import metrics
from server.outbox import SlowClient
from server.pipeline import CallOver, Parts, Session
from server.resumption import Resumption, TicketOffice
from server.settings.loading import SettingsError
from server.settings.settings import Settings
from server.spoken_lines import SpokenLines
from server.twilio_opening import Stream, TwilioEntrance
from server.wire_message import WireMessage

log = structlog.get_logger(__name__)

REALTIME_PATHS = ("/v1/realtime", "/openai/v1/realtime")
TWILIO_PATH = "/twilio"
_SUBPROTOCOL = Subprotocol("realtime")
_TWILIO_SUBPROTOCOL = Subprotocol("audio.twilio.com")
# Load balancers drop quiet sockets after about a minute, and a half-open one must not hold a place for longer.
_PING_INTERVAL_SECONDS = 20.0
_PING_TIMEOUT_SECONDS = 20.0
_HANDSHAKE_SECONDS = 10.0
# Bytes that wait in the process before a session's writer has to; about one second of audio as base64.
_WRITE_LIMIT_BYTES = 65_536
_DEFAULT_MODEL = "voicefleet"
_BINARY = "binary"
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
        self._tickets = TicketOffice([self._own_secret], settings.resume_seconds, settings.max_message_bytes // 2)
        self.take_keys(settings)

    def take_keys(self, settings: Settings) -> None:
        """From now on callers are let in by the keys and the token secrets of these settings; calls by others end."""
        held = settings.token_secrets
        self._authenticator = Authenticator(settings.api_keys, *held) if settings.needs_auth else None
        auth_token = settings.twilio_auth_token
        self._signatures = TwilioSignatures(auth_token.get_secret_value(), settings.twilio_url) if auth_token else None
        self._twilio = TwilioEntrance(self._admission, self._signatures, self._authenticator)
        self._tickets.keys = TicketKeys(held or [self._own_secret])
        for call_time, principal in self._calls.items():
            self._end_if_withdrawn(call_time, principal)

    def _end_if_withdrawn(self, call_time: CallTime, principal: Principal | None) -> None:
        if principal and not self._still_accepts(principal):
            call_time.revoke(time.monotonic())

    def _still_accepts(self, principal: Principal) -> bool:
        if principal.kind == "twilio":
            return self._signatures is not None and self._signatures.still_accepts(principal)
        return self._authenticator is None or self._authenticator.still_accepts(principal)

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

    # --- the handshake

    def _check_request(self, connection: ServerConnection, request: Request) -> Response | None:
        if _path(request) not in (*REALTIME_PATHS, TWILIO_PATH):
            takes = f"{REALTIME_PATHS[0]}, and {TWILIO_PATH} for Twilio Media Streams"
            return self._refuse(connection, HTTPStatus.NOT_FOUND, "path", f"no such path; takes {takes}")
        if not all(self._origin_allowed(origin) for origin in request.headers.get_all("Origin")):
            return self._refuse(
                connection,
                HTTPStatus.FORBIDDEN,
                "origin",
                "pages of this origin may not call; see VOICE_ALLOWED_ORIGINS",
            )
        if _path(request) == TWILIO_PATH:
            return self._check_credentials(connection, lambda: self._twilio.signed_by(request.headers, request.path))
        offered = _offered_subprotocols(request)
        if offered and _SUBPROTOCOL not in offered:
            return self._refuse(
                connection,
                HTTPStatus.BAD_REQUEST,
                "subprotocol",
                f"no such subprotocol; takes {_SUBPROTOCOL!r} or none",
            )
        if (audio := _in_query(request, "audio")) not in ("", _BINARY):
            return self._refuse(
                connection,
                HTTPStatus.BAD_REQUEST,
                "audio",
                f"audio: got {audio[:64]!r}; takes {_BINARY!r}, for audio in binary messages, or nothing",
            )
        if authenticator := self._authenticator:
            refused = self._check_credentials(
                connection, lambda: authenticator.authenticate(credential_from(request.headers, offered))
            )
            if refused:
                return refused
        if text := _in_query(request, "resume"):
            try:
                _ours(connection).ticket = self._tickets.open(text, _ours(connection).principal)
            except TicketRefused as error:
                metrics.tickets_refused.labels(error.reason).inc()
                return self._refuse(connection, HTTPStatus.BAD_REQUEST, "ticket", f"{error.code}: {error}")
        return None

    def _check_credentials(
        self, connection: ServerConnection, authenticate: Callable[[], Principal | None]
    ) -> Response | None:
        try:
            _ours(connection).principal = authenticate()
        except InvalidCredentials as error:
            response = self._refuse(connection, HTTPStatus.UNAUTHORIZED, "credentials", str(error))
            response.headers["WWW-Authenticate"] = "Bearer"
            return response
        return None

    def _admit(self, connection: ServerConnection, request: Request, response: Response) -> Response | None:
        """Admission comes last, so that a handshake that fails for another reason takes no place.

        A Twilio stream takes its place when it starts: only then is it known who it is from.
        """
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            return None
        if connection.state is not State.CONNECTING:  # the caller hung up on its own handshake: no place to give back
            return None
        if self._takes_over_place(_ours(connection)):
            return None
        try:
            if _path(request) != TWILIO_PATH:
                _ours(connection).lease = self._admission.admit(_ours(connection).principal)
            elif refusal := self._admission.refusal:
                raise refusal
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

    def _origin_allowed(self, origin: str) -> bool:
        """Only browsers send an origin. Where anyone may call, any page could; so there only local pages may."""
        allowed = self._settings.allowed_origins
        return origin in allowed if allowed else self._authenticator is not None or _is_local_page(origin)

    # --- the call

    async def _handle(self, connection: ServerConnection) -> None:
        session_id = f"sess_{secrets.token_hex(8)}"
        structlog.contextvars.bind_contextvars(session_id=session_id)
        assert connection.request is not None, "a call begins after the handshake"
        stream = None
        if _path(connection.request) == TWILIO_PATH:
            stream = await self._twilio.open(_ours(connection), self._abilities)
            if stream is None:  # it was over before it began
                return
        principal, lease = _ours(connection).principal, _ours(connection).lease
        assert lease, "who is let in has a place"
        log.info("session_started", principal=principal.id if principal else "local")
        started = time.monotonic()
        call_time = self._call_time(principal, started)
        self._calls[call_time] = principal
        self._end_if_withdrawn(call_time, principal)  # the keys may have changed during the handshake
        resumption = Resumption(self._tickets, self._admission, lease, principal, session_id)
        conversation, dialect = (
            self._of_telephone(stream) if stream else self._of_application(connection.request, session_id, call_time)
        )
        session = self._session(connection, conversation, dialect, call_time, resumption)
        in_order = False
        try:
            await session.run(_ours(connection).messages(), _ours(connection).ticket)
            in_order = connection.close_code in _HUNG_UP
        except* SlowClient:
            _note_cut("slow_client")
            await _ours(connection).end(1008, "the client reads too slowly")
        except* ClientAtFault as group:
            [fault] = [error for error in group.exceptions if isinstance(error, ClientAtFault)]
            await _ours(connection).end_faulty(fault)
        except* CallOver as over:
            in_order = True
            [ended] = [error for error in over.exceptions if isinstance(error, CallOver)]
            metrics.calls_ended.labels(ended.reason).inc()
            log.info("session_limited", reason=ended.reason)
            await _ours(connection).end(1000, ended.reason)
        except* ConnectionClosed:
            pass  # while sending; the client is gone
        except* Exception:
            log.exception("session_failed")
            await _ours(connection).end(1011, "internal error")
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
        longest, idle = self._settings.max_call_seconds, self._settings.max_idle_seconds
        return CallTime(now, longest, idle, expires, epoch=time.time() - now)

    def _of_telephone(self, stream: Stream) -> tuple[Conversation, Dialect]:
        conversation = self._conversation(stream.parameters.config(self._settings.instructions))
        return conversation, TwilioDialect(stream.sid, stream.parameters.greeting, conversation)

    def _of_application(self, request: Request, session_id: str, call_time: CallTime) -> tuple[Conversation, Dialect]:
        model = _in_query(request, "model") or _DEFAULT_MODEL
        transcribes = _in_query(request, "intent") == "transcription"
        wire = OpenAiSession(
            type="transcription" if transcribes else "realtime",
            id=session_id,
            model=model,
            instructions=self._settings.instructions,
        )
        conversation = self._conversation(wire.config())
        binary_audio = _in_query(request, "audio") == _BINARY
        return conversation, OpenAiDialect(wire, conversation, _new_id, self._abilities, binary_audio, call_time)

    @property
    def _abilities(self) -> Abilities:
        return Abilities(
            calls_functions=self._settings.llm != ("local",),  # a model of that size fills them with nonsense
            takes_images=self._settings.llm_images,
            languages=self._parts.stt.languages,
        )

    def _conversation(self, config: SessionConfig) -> Conversation:
        tokens, speculation = self._settings.llm_context_tokens, self._settings.effective_speculation
        return Conversation(config, _new_id, tokens, self._limits, speculation, self._lines)

    def _session(
        self,
        connection: ServerConnection,
        conversation: Conversation,
        dialect: Dialect,
        call_time: CallTime,
        resumption: Resumption,
    ) -> Session:
        async def send(message: WireMessage) -> None:
            await connection.send(message.data, text=not message.binary)

        return Session(self._parts, self._settings, conversation, dialect, send, call_time, resumption)


def _ours(connection: ServerConnection) -> Connection:
    """What `create_connection` made; websockets' own types forget it."""
    assert isinstance(connection, Connection)
    return connection


def _note_cut(reason: CutReason) -> None:
    metrics.calls_ended.labels(reason).inc()
    log.warning("session_cut", reason=reason)


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


def _path(request: Request) -> str:
    return request.path.partition("?")[0].rstrip("/")


def _offered_subprotocols(request: Request) -> list[str]:
    values = request.headers.get_all("Sec-WebSocket-Protocol")
    return [name.strip() for value in values for name in value.split(",")]


def _select_subprotocol(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """A browser shows its key as a second subprotocol, which must not be echoed."""
    return next((known for known in (_SUBPROTOCOL, _TWILIO_SUBPROTOCOL) if known in offered), None)


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
