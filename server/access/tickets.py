"""Session tickets: what a client keeps of its call, sealed, so that any node of the fleet can go on with it.

Nothing here is stored, and no node asks another: what a ticket says, whom it was given to and when stands in the ticket
itself, which is the JSON of a `Ticket` as `server.access.sealing` seals it.
"""

from collections.abc import Sequence

import msgspec

from server.access.auth import CLOCK_SKEW_SECONDS, Principal
from server.access.sealing import Seal, SealBroken
from server.access.ticket_errors import TicketRefused


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
        self._seal = Seal(secrets, "voicefleet ticket")

    def seal(self, ticket: Ticket) -> str:
        """The ticket as its client keeps it. Takes milliseconds where the call is long."""
        return self._seal.seal(msgspec.json.encode(ticket))

    def open(self, text: str, principal: Principal | None, now: float, valid_seconds: float) -> Ticket:
        """What a ticket says that `principal` shows `now` (seconds since 1970).

        It is valid for `valid_seconds` from its issue. Raises `TicketRefused`.
        """
        try:
            ticket = msgspec.json.decode(self._seal.open(text), type=Ticket)
        except SealBroken as error:
            raise TicketRefused(error.reason) from None
        if ticket.principal != holder(principal):
            raise TicketRefused("foreign")
        if not -CLOCK_SKEW_SECONDS <= now - ticket.issued_at <= valid_seconds + CLOCK_SKEW_SECONDS:
            raise TicketRefused("stale")
        return ticket


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
