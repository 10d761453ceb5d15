"""The tickets that a call is given: what was told to the client before one is in it."""

import asyncio
from typing import Any

import pytest

from server import resumption
from server.access.tickets import Ticket
from server.conversation.events import Place, TextDelta
from server.dialects.dialect import TicketIssued, Told
from server.llm.interface import Usage
from server.resumption import Resumption, TicketOffice

_SECRET = "a-secret-of-more-than-thirty-two-bytes"


class _Conversation:
    usage = Usage()

    def at_rest(self, now: float) -> bool:
        return True


class _Dialect:
    """Whose state is how much has been told."""

    can_resume = True

    def __init__(self) -> None:
        self.told = 0

    def state(self, now: float, most_bytes: int) -> bytes:
        return str(self.told).encode()


class _Admission:
    draining = False


async def test_a_ticket_that_was_overtaken_while_it_was_sealed_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumption, "_LOOK_SECONDS", 0.0)
    office, dialect = TicketOffice([_SECRET], 60.0, 10_000), _Dialect()
    admission: Any = _Admission()
    lease: Any = None
    call, given = Resumption(office, admission, lease, None, "call_1"), asyncio.Queue[Told]()
    seal = office.keys.seal

    def tell() -> None:
        dialect.told += 1
        call.note(TextDelta(Place("resp_1", "item_1", 0), "output_audio", "Good morning."))

    def sealed_while_more_is_told(ticket: Ticket) -> str:
        if dialect.told == 1:
            tell()
        return seal(ticket)

    monkeypatch.setattr(office.keys, "seal", sealed_while_more_is_told)
    tell()
    conversation: Any = _Conversation()
    dialect_: Any = dialect
    keeping = asyncio.create_task(call.keep(dialect_, conversation, given.put_nowait))
    issued = await given.get()
    keeping.cancel()
    assert isinstance(issued, TicketIssued)
    assert bytes(office.open(issued.ticket, None).state) == b"2"
