"""Session tickets: what a client keeps of its call, sealed, so that any node of the fleet can go on with it.

Nothing here is stored, and no node asks another: what a ticket says, whom it was given to and when stands in the ticket
itself. Pure but for the random salt of a new ticket.

The form, in base64url without padding: version (1 byte), key id (4), salt (16), then AES-256-GCM over the compressed
JSON of a `Ticket`, with all before it as associated data. Key and nonce are made by HKDF-SHA256 of the secret with the
ticket's own salt: a fleet seals more tickets than random nonces under a single key are safe for (2^32, NIST SP
800-38D).
"""

import secrets
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from server.access.auth import CLOCK_SKEW_SECONDS, Principal
from server.access.ticket_errors import TicketRefused

VERSION = 1
SALT_BYTES = 16
_KEY_ID_BYTES, _KEY_BYTES, _NONCE_BYTES = 4, 32, 12
_HEADER_BYTES = 1 + _KEY_ID_BYTES + SALT_BYTES


class Ticket(msgspec.Struct, frozen=True, array_like=True):
    """What a ticket says.

    `number` counts the tickets of the call `call_id`, which has `lasted` so many seconds. `issued_at` is seconds since
    1970, and `state` is the call, in JSON of the dialect's.
    """

    principal: str
    call_id: str
    number: int
    issued_at: int
    lasted: float
    state: msgspec.Raw


def holder(principal: Principal | None) -> str:
    """The principal as a ticket names it; None where nobody has to show a credential."""
    return f"{principal.kind}:{principal.id}" if principal else "local"


class TicketKeys:
    """Seals with the first of `secrets`, opens with any of them."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = {_derive(secret, b"", b"voicefleet ticket key id", _KEY_ID_BYTES): secret for secret in secrets}
        self._sealing = next(iter(self._secrets))

    def seal(self, ticket: Ticket) -> str:
        """The ticket as its client keeps it. Takes milliseconds where the call is long."""
        header = bytes([VERSION]) + self._sealing + secrets.token_bytes(SALT_BYTES)
        cipher, nonce = self._cipher(header)
        sealed = header + cipher.encrypt(nonce, zlib.compress(msgspec.json.encode(ticket)), header)
        return urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open(self, text: str, principal: Principal | None, now: float, valid_seconds: float) -> Ticket:
        """What a ticket says that `principal` shows `now` (seconds since 1970).

        It is valid for `valid_seconds` from its issue. Raises `TicketRefused`.
        """
        sealed = _decoded(text)
        header = sealed[:_HEADER_BYTES]
        if len(header) < _HEADER_BYTES:
            raise TicketRefused("damaged")
        if header[0] != VERSION:
            raise TicketRefused("unknown_version")
        if header[1 : 1 + _KEY_ID_BYTES] not in self._secrets:
            raise TicketRefused("unknown_key")
        cipher, nonce = self._cipher(header)
        try:
            plain = cipher.decrypt(nonce, sealed[_HEADER_BYTES:], header)
        except InvalidTag:
            raise TicketRefused("damaged") from None
        ticket = msgspec.json.decode(zlib.decompress(plain), type=Ticket)
        if ticket.principal != holder(principal):
            raise TicketRefused("foreign")
        if not -CLOCK_SKEW_SECONDS <= now - ticket.issued_at <= valid_seconds + CLOCK_SKEW_SECONDS:
            raise TicketRefused("stale")
        return ticket

    def _cipher(self, header: bytes) -> tuple[AESGCM, bytes]:
        secret, salt = self._secrets[header[1 : 1 + _KEY_ID_BYTES]], header[1 + _KEY_ID_BYTES :]
        derived = _derive(secret, salt, b"voicefleet ticket", _KEY_BYTES + _NONCE_BYTES)
        return AESGCM(derived[:_KEY_BYTES]), derived[_KEY_BYTES:]


class UsedTickets:
    """Which tickets open no call on this node any more, though they are not stale. `now` is monotonic seconds.

    A call that has ended is over, and one that went on from a ticket does not go back to an earlier one. The ticket
    that it went on from may be shown again: its client may have lost the line before it had the next.
    """

    def __init__(self, remember_seconds: float) -> None:
        """`remember_seconds` is how long a ticket is valid at most."""
        self._remember_seconds = remember_seconds
        self._least: dict[str, tuple[int, float]] = {}  # by call, the oldest first; and until when it matters

    def take(self, ticket: Ticket, now: float) -> None:
        """The call goes on from this ticket. Raises `TicketRefused`."""
        if ticket.number < self._least.get(ticket.call_id, (0, 0.0))[0]:
            raise TicketRefused("used")
        self._note(ticket.call_id, ticket.number, now)

    def ended(self, call_id: str, number: int, now: float) -> None:
        """The call has ended in order; `number` was its last ticket's."""
        self._note(call_id, number + 1, now)

    def _note(self, call_id: str, least: int, now: float) -> None:
        self._least.pop(call_id, None)
        self._least[call_id] = least, now + self._remember_seconds
        while next(iter(self._least.values()))[1] <= now:
            del self._least[next(iter(self._least))]


def _decoded(text: str) -> bytes:
    """Raises `TicketRefused`, also where other text than this would say the same."""
    try:
        sealed = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise TicketRefused("damaged") from None
    if urlsafe_b64encode(sealed).rstrip(b"=").decode() != text:
        raise TicketRefused("damaged")
    return sealed


def _derive(secret: str, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(secret.encode())
