"""How a call outlives its connection: the tickets that its client is given, and its move to another node.

A client that can resume has, at any time, a ticket that is about as old as the last thing said, and never older than
half of VOICE_RESUME_SECONDS. Sealing runs in a thread; what a call is, and how it is told, are the dialect's.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence

import msgspec
import structlog

from server.access.admission import Admission, Lease
from server.access.auth import CLOCK_SKEW_SECONDS, Principal
from server.access.ticket_errors import TicketTooLarge
from server.access.tickets import Ticket, TicketKeys, UsedTickets, holder
from server.conversation.conversation import Conversation
from server.conversation.events import (
    ItemAdded,
    ItemDeleted,
    ItemDone,
    ItemTruncated,
    ResponseCreated,
    ResponseDone,
    TextDelta,
    Transcribed,
)
from server.dialects.dialect import Dialect, Move, TicketIssued, TicketWanted, Told
from server.observability import metrics

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 0.25
_LOOP_SHARE = 0.01  # of the event loop's time, for the tickets of one call: those of a long one come less often
_MOVE_AGAIN_SECONDS = 10.0  # to a client that could not move, as no other node had room

_Change = ItemAdded | ItemDone | ItemDeleted | ItemTruncated | TextDelta | Transcribed | ResponseCreated | ResponseDone


class TicketOffice:
    """The node's: seals tickets, opens them, and knows which calls that have any are here."""

    def __init__(self, secrets: Sequence[str], resume_seconds: float, most_bytes: int) -> None:
        """`resume_seconds` is how long after the end of its connection a call can be resumed.

        A ticket can't know when that was. So a client is given a fresh one in half of the time, and each is valid for
        one and a half of it.
        """
        self.keys = TicketKeys(secrets)
        self.renew_seconds = resume_seconds / 2
        self.valid_seconds = resume_seconds + self.renew_seconds
        self.most_bytes = most_bytes
        self._used = UsedTickets(self.valid_seconds + 2 * CLOCK_SKEW_SECONDS)
        self._calls: dict[str, Resumption] = {}

    def open(self, text: str, principal: Principal | None) -> Ticket:
        """What `principal` shows, for their call to go on here. Raises `TicketRefused`."""
        ticket = self.keys.open(text, principal, time.time(), self.valid_seconds)
        self._used.take(ticket, time.monotonic())
        return ticket

    def call(self, call_id: str) -> "Resumption | None":
        """The call of that id that is here."""
        return self._calls.get(call_id)

    def enter(self, call: "Resumption") -> None:
        """The call is here from now on; another connection of the same call ends."""
        if (older := self._calls.get(call.call_id)) and older is not call:
            older.superseded = True
        self._calls[call.call_id] = call

    def leave(self, call: "Resumption", in_order: bool) -> None:
        """The call's connection has ended; `in_order`: and so has the call."""
        if self._calls.get(call.call_id) is call:
            del self._calls[call.call_id]
            if in_order and call.number:
                self._used.ended(call.call_id, call.number, time.monotonic())


class Resumption:
    """One call's. `number` is that of its last ticket."""

    def __init__(
        self, office: TicketOffice, admission: Admission, lease: Lease, principal: Principal | None, call_id: str
    ) -> None:
        self._office = office
        self._admission = admission
        self.lease = lease
        self._principal = principal
        self.call_id = call_id
        self.number = 0
        self.superseded = False
        """Whether the call goes on at another connection to this node."""
        self._began = time.monotonic()
        self._changed = False
        self._wanted = False
        self._told_too_large = False
        self._issued_at = -math.inf
        self._not_before = -math.inf
        self._moved_at = -math.inf
        office.enter(self)

    def open(self, text: str) -> Ticket:
        """What the client shows. Raises `TicketRefused`."""
        return self._office.open(text, self._principal)

    def take_over(self, ticket: Ticket) -> None:
        """From now on this is the call that the ticket is of."""
        self._office.leave(self, in_order=False)
        self.call_id, self.number = ticket.call_id, ticket.number
        self._began = time.monotonic() - ticket.lasted
        self._office.enter(self)
        metrics.calls_resumed.inc()
        log.info("session_resumed", call_id=ticket.call_id, lasted=round(ticket.lasted, 3))

    def leave(self, in_order: bool) -> None:
        """The connection has ended; `in_order`: the client hung up, or the call has reached a limit."""
        self._office.leave(self, in_order)

    def note(self, output: Told | TicketWanted) -> None:
        """Something is told to the client, or it wants a ticket."""
        self._changed = self._changed or isinstance(output, _Change | TicketWanted)
        self._wanted = self._wanted or isinstance(output, TicketWanted)

    async def keep(self, dialect: Dialect, conversation: Conversation, tell: Callable[[Told], None]) -> None:
        """Until cancelled: give the client tickets, and have it move once the node is taken out of service."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            now = time.monotonic()
            moves = self._moves(now, conversation)
            if not (dialect.can_resume and (moves or self._is_due(now))):
                continue
            wanted, self._wanted, self._changed, self._issued_at = self._wanted, False, False, now
            if moves:
                self._moved_at = now
            used = time.thread_time()  # what others take of a busy core must not make tickets older
            try:
                state = dialect.state(now, self._office.most_bytes)
            except TicketTooLarge as error:
                if wanted or not self._told_too_large:
                    self._told_too_large = True
                    log.warning("call_too_large", call_id=self.call_id, most_bytes=self._office.most_bytes)
                    tell(dialect.refuse(error))
                continue
            finally:
                self._not_before = now + (time.thread_time() - used) / _LOOP_SHARE
            ticket = await self._seal(state, now)
            if self._changed:  # while it was sealed: a client takes all that it is told before a ticket to be in it
                self._wanted |= wanted
                self._moved_at = -math.inf if moves else self._moved_at
                continue
            if moves:
                metrics.calls_told_to_move.inc()
                tell(Move(ticket, self._admission.drains_until - now))
            else:
                tell(TicketIssued(ticket, self._office.valid_seconds, conversation.usage))

    def _moves(self, now: float, conversation: Conversation) -> bool:
        """Whether this is a moment to leave: between two turns, and never inside a word."""
        asked = now - self._moved_at < _MOVE_AGAIN_SECONDS
        return self._admission.draining and not asked and conversation.at_rest(now)

    def _is_due(self, now: float) -> bool:
        is_old = now - self._issued_at >= self._office.renew_seconds
        return (self._changed or is_old) and now >= self._not_before

    async def _seal(self, state: bytes, now: float) -> str:
        self.number += 1
        ticket = Ticket(
            holder(self._principal),
            self.call_id,
            self.number,
            int(time.time()),
            round(now - self._began, 3),
            msgspec.Raw(state),
        )
        metrics.tickets_issued.inc()
        return await asyncio.to_thread(self._office.keys.seal, ticket)
