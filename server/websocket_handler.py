"""The WebSocket side of :9000: a session for each call that the handshake lets in.

It listens on the port, leaves what is no handshake to the HTTP side, and turns whatever ends a call into a close code.
What is said on a call is the session's.
"""

import asyncio
import secrets
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal, Protocol

import msgspec
import structlog
from websockets import ConnectionClosed
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request

from server.access.admission import Admission
from server.access.auth import CLOCK_SKEW_SECONDS, Principal
from server.access.call_time import CallTime
from server.access.entrance import Entrance
from server.access.tickets import TicketKeys
from server.connection import Connection
from server.conversation.config import SessionConfig
from server.conversation.conversation import Conversation
from server.dialects.dialect import ClientAtFault, Dialect
from server.dialects.openai.dialect import OpenAiDialect
from server.dialects.openai.session import DEFAULT_MODEL
from server.dialects.openai.session import Session as OpenAiSession
from server.dialects.twilio.dialect import TwilioDialect
from server.front_door import FrontDoor, Visitor
from server.handshake import BINARY, Handshake, in_query, is_telephone, ours, select_subprotocol
from server.limits import Limits
from server.observability import metrics
from server.outbox import SlowClient
from server.pipeline import CallOver, Parts, Session
from server.resumption import Resumption, TicketOffice
from server.settings.loading import SettingsError
from server.settings.settings import Settings
from server.spoken_lines import SpokenLines
from server.twilio_opening import Stream
from server.wire_message import WireMessage

log = structlog.get_logger(__name__)

# Load balancers drop quiet sockets after about a minute, and a half-open one must not hold a place for longer.
_PING_INTERVAL_SECONDS = 20.0
_PING_TIMEOUT_SECONDS = 20.0
_HANDSHAKE_SECONDS = 10.0
# Bytes that wait in the process before a session's writer has to; about one second of audio as base64.
_WRITE_LIMIT_BYTES = 65_536
# The client closed the connection, with the code of a call that is over or without any. A page that is left says 1001.
_HUNG_UP = (1000, 1005)

CutReason = Literal["slow_client", "ping_timeout"]
"""Why the node gave a connection up."""


class HttpSide(Protocol):
    """What takes the port's connections that are no calls."""

    def serving(self) -> AbstractAsyncContextManager[Callable[[], asyncio.Protocol]]:
        """Serve inside the block; gives what makes a protocol for a connection. Leaving it ends them."""
        ...


class Gateway:
    """Takes callers in and serves them."""

    def __init__(
        self,
        settings: Settings,
        parts: Parts,
        admission: Admission,
        entrance: Entrance,
        http: HttpSide,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._settings = settings
        self._limits = Limits.of(settings)
        self._lines = SpokenLines.of(settings.stt_language, settings.spoken_lines)
        self._tls = tls
        self._parts = parts
        self._admission = admission
        self._calls: dict[CallTime, Principal | None] = {}
        self._entrance = entrance
        self._http = http
        self._tickets = TicketOffice(entrance.sealing_secrets, settings.resume_seconds, settings.max_message_bytes // 2)
        self._handshake = Handshake(admission, entrance, self._tickets)

    def take_keys(self, settings: Settings) -> None:
        """From now on callers are let in by the keys and the token secrets of these settings; calls by others end."""
        self._entrance.take_keys(settings)
        self._tickets.keys = TicketKeys(self._entrance.sealing_secrets)
        for call_time, principal in self._calls.items():
            self._end_if_withdrawn(call_time, principal)

    def _end_if_withdrawn(self, call_time: CallTime, principal: Principal | None) -> None:
        if principal and not self._entrance.still_accepts(principal):
            call_time.revoke(time.monotonic())

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[int]:
        """Serve inside the block; gives the port. Leaving it closes every call with 1001 (going away).

        Raises `OSError`.
        """
        settings = self._settings
        door = FrontDoor(_HANDSHAKE_SECONDS)

        def visitor(*args: Any, **kwargs: Any) -> Visitor:
            return Visitor(door, Connection(*args, limits=self._limits, **kwargs))

        async with (
            serve(
                self._handle,
                settings.host,
                settings.port,
                process_request=self._handshake.check,
                process_response=self._handshake.admit,
                select_subprotocol=select_subprotocol,
                create_connection=visitor,  # type: ignore[arg-type]  # it only calls it
                ssl=self._tls,
                compression=None,  # audio does not compress, and the attempt costs memory for every call
                max_size=settings.max_message_bytes,
                open_timeout=_HANDSHAKE_SECONDS,
                ping_interval=_PING_INTERVAL_SECONDS,
                ping_timeout=_PING_TIMEOUT_SECONDS,
                write_limit=_WRITE_LIMIT_BYTES,
                server_header="voicefleet",
                start_serving=False,
            ) as server,
            self._http.serving() as http,
        ):
            with door.open(http):
                await server.start_serving()
                yield next(iter(server.sockets)).getsockname()[1]

    # --- the call

    async def _handle(self, connection: ServerConnection) -> None:
        session_id = f"sess_{secrets.token_hex(8)}"
        structlog.contextvars.bind_contextvars(session_id=session_id)
        assert connection.request is not None, "a call begins after the handshake"
        stream = None
        if is_telephone(connection.request):
            stream = await self._handshake.twilio.open(ours(connection), self._parts.abilities(self._settings))
            if stream is None:  # it was over before it began
                return
        principal, lease = ours(connection).principal, ours(connection).lease
        assert lease, "who is let in has a place"
        log.info("session_started", principal=principal.id if principal else "local")
        started = time.monotonic()
        call_time = self._call_time(principal, started)
        self._calls[call_time] = principal
        self._end_if_withdrawn(call_time, principal)  # the keys may have changed during the handshake
        resumption = Resumption(self._tickets, self._admission, lease, principal, session_id)
        in_order = False
        try:
            conversation, dialect = (
                self._of_telephone(stream) if stream else self._of_application(ours(connection), session_id, call_time)
            )
            session = self._session(connection, conversation, dialect, call_time, resumption)
            await session.run(ours(connection).messages(), ours(connection).ticket)
            in_order = connection.close_code in _HUNG_UP
        except* SlowClient:
            _note_cut("slow_client")
            await ours(connection).end(1008, "the client reads too slowly")
        except* ClientAtFault as group:
            [fault] = [error for error in group.exceptions if isinstance(error, ClientAtFault)]
            await ours(connection).end_faulty(fault)
        except* CallOver as over:
            in_order = True
            [ended] = [error for error in over.exceptions if isinstance(error, CallOver)]
            metrics.calls_ended.labels(ended.reason).inc()
            log.info("session_limited", reason=ended.reason)
            await ours(connection).end(1000, ended.reason)
        except* ConnectionClosed:
            pass  # while sending; the client is gone
        except* Exception:
            log.exception("session_failed")
            await ours(connection).end(1011, "internal error")
        finally:
            del self._calls[call_time]
            resumption.leave(in_order)
            if ours(connection).ping_timed_out:
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

    def _of_application(
        self, connection: Connection, session_id: str, call_time: CallTime
    ) -> tuple[Conversation, Dialect]:
        assert connection.request is not None, "a call begins after the handshake"
        wire = self._first_settings(session_id, connection, connection.request)
        conversation = self._conversation(wire.config())
        binary_audio = in_query(connection.request, "audio") == BINARY
        abilities = self._parts.abilities(self._settings)
        return conversation, OpenAiDialect(wire, conversation, _new_id, abilities, binary_audio, call_time)

    def _first_settings(self, session_id: str, connection: Connection, request: Request) -> OpenAiSession:
        """The settings with which the call begins: those of the client secret that it was placed with, if any."""
        if connection.session:
            return msgspec.structs.replace(connection.session, id=session_id)
        return OpenAiSession(
            type="transcription" if in_query(request, "intent") == "transcription" else "realtime",
            id=session_id,
            model=in_query(request, "model") or DEFAULT_MODEL,
            instructions=self._settings.instructions,
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


def _note_cut(reason: CutReason) -> None:
    metrics.calls_ended.labels(reason).inc()
    log.warning("session_cut", reason=reason)


def _new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(8)}"


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
