"""The opening handshake of a call: path, origin, credentials, ticket, admission. It decides who gets in."""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from urllib.parse import parse_qs

import msgspec
import structlog
from websockets import Subprotocol
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response
from websockets.protocol import State

from server.access.admission import Admission, AdmissionRefused, CallerAtCapacity
from server.access.auth import InvalidCredentials
from server.access.entrance import Caller, Entrance
from server.access.ticket_errors import TicketRefused
from server.connection import Connection
from server.dialects.openai.session import Session as OpenAiSession
from server.front_door import CALL_PATHS, TWILIO_PATH
from server.observability import metrics
from server.resumption import TicketOffice
from server.twilio_opening import TwilioEntrance

log = structlog.get_logger(__name__)

BINARY = "binary"
"""The value of `audio` in the address of a call whose audio travels in binary messages."""

_SUBPROTOCOL = Subprotocol("realtime")
_TWILIO_SUBPROTOCOL = Subprotocol("audio.twilio.com")


class Handshake:
    """Decides on each, by what a port's connections say before they are calls."""

    def __init__(self, admission: Admission, entrance: Entrance, tickets: TicketOffice) -> None:
        self._admission = admission
        self._entrance = entrance
        self._tickets = tickets
        self.twilio = TwilioEntrance(admission, entrance)

    def check(self, connection: ServerConnection, request: Request) -> Response | None:
        """Who calls, and what for; a refusal, if there is a reason for one."""
        if _path(request) not in (*CALL_PATHS, TWILIO_PATH):
            takes = f"{CALL_PATHS[0]}, and {TWILIO_PATH} for Twilio Media Streams"
            return self._refuse(connection, HTTPStatus.NOT_FOUND, "path", f"no such path; takes {takes}")
        if not all(self._entrance.allows_origin(origin) for origin in request.headers.get_all("Origin")):
            return self._refuse(
                connection,
                HTTPStatus.FORBIDDEN,
                "origin",
                "pages of this origin may not call; see VOICE_ALLOWED_ORIGINS",
            )
        if is_telephone(request):
            return self._check_credentials(
                connection, lambda: Caller(self.twilio.signed_by(request.headers, request.path))
            )
        offered = _offered_subprotocols(request)
        if offered and _SUBPROTOCOL not in offered:
            return self._refuse(
                connection,
                HTTPStatus.BAD_REQUEST,
                "subprotocol",
                f"no such subprotocol; takes {_SUBPROTOCOL!r} or none",
            )
        if (audio := in_query(request, "audio")) not in ("", BINARY):
            return self._refuse(
                connection,
                HTTPStatus.BAD_REQUEST,
                "audio",
                f"audio: got {audio[:64]!r}; takes {BINARY!r}, for audio in binary messages, or nothing",
            )
        if refused := self._check_credentials(connection, lambda: self._entrance.identify(request.headers, offered)):
            return refused
        if text := in_query(request, "resume"):
            try:
                ours(connection).ticket = self._tickets.open(text, ours(connection).principal)
            except TicketRefused as error:
                metrics.tickets_refused.labels(error.reason).inc()
                return self._refuse(connection, HTTPStatus.BAD_REQUEST, "ticket", f"{error.code}: {error}")
        return None

    def _check_credentials(self, connection: ServerConnection, identify: Callable[[], Caller]) -> Response | None:
        try:
            caller = identify()
            ours(connection).principal = caller.principal
            ours(connection).session = _read_session(caller.session) if caller.session else None
        except InvalidCredentials as error:
            response = self._refuse(connection, HTTPStatus.UNAUTHORIZED, "credentials", str(error))
            response.headers["WWW-Authenticate"] = "Bearer"
            return response
        return None

    def admit(self, connection: ServerConnection, request: Request, response: Response) -> Response | None:
        """Admission comes last, so that a handshake that fails for another reason takes no place.

        A Twilio stream takes its place when it starts: only then is it known who it is from.
        """
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            return None
        if connection.state is not State.CONNECTING:  # the caller hung up on its own handshake: no place to give back
            return None
        if self._takes_over_place(ours(connection)):
            return None
        try:
            if not is_telephone(request):
                ours(connection).lease = self._admission.admit(ours(connection).principal)
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


def ours(connection: ServerConnection) -> Connection:
    """What `create_connection` made; websockets' own types forget it."""
    assert isinstance(connection, Connection)
    return connection


def _read_session(encoded: bytes) -> OpenAiSession:
    """The session in a client secret. Raises `InvalidCredentials` for one of a node that knows other settings."""
    try:
        return msgspec.json.decode(encoded, type=OpenAiSession)
    except msgspec.ValidationError:
        raise InvalidCredentials("malformed") from None


def in_query(request: Request, name: str) -> str:
    """The value of a parameter of the URL; empty if it has none."""
    return parse_qs(request.path.partition("?")[2]).get(name, [""])[0]


def is_telephone(request: Request) -> bool:
    """Whether it is Twilio that calls."""
    return _path(request) == TWILIO_PATH


def _path(request: Request) -> str:
    return request.path.partition("?")[0].rstrip("/")


def _offered_subprotocols(request: Request) -> list[str]:
    values = request.headers.get_all("Sec-WebSocket-Protocol")
    return [name.strip() for value in values for name in value.split(",")]


def select_subprotocol(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """A browser shows its key as a second subprotocol, which must not be echoed."""
    return next((known for known in (_SUBPROTOCOL, _TWILIO_SUBPROTOCOL) if known in offered), None)
