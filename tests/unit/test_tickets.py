"""Sealed tickets: what opens them, and what does not."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.access.auth import Principal
from server.access.ticket_errors import TicketRefused
from server.access.tickets import Ticket, TicketKeys, UsedTickets

SECRET, OTHER = "a secret that is long enough for anyone", "another secret, which is no shorter"
WEB = Principal("web", "token")
NOW, VALID = 1_800_000_000.0, 180.0


def ticket(**fields: Any) -> Ticket:
    made = Ticket("token:web", "sess_1", 3, int(NOW), 12.5, msgspec.Raw(b'{"items":[]}'))
    return msgspec.structs.replace(made, **fields)


def refusal(text: str, principal: Principal | None = WEB, now: float = NOW, secret: str = SECRET) -> str:
    with pytest.raises(TicketRefused) as refused:
        TicketKeys([secret]).open(text, principal, now, VALID)
    assert refused.value.code == f"ticket_{refused.value.reason}"
    return refused.value.reason


def test_a_ticket_opens_for_whom_it_was_given_to() -> None:
    keys = TicketKeys([SECRET])
    assert keys.open(keys.seal(ticket()), WEB, NOW, VALID) == ticket()


def test_two_tickets_of_the_same_are_not_alike() -> None:
    keys = TicketKeys([SECRET])
    assert keys.seal(ticket()) != keys.seal(ticket())


def test_where_nobody_shows_a_credential_a_ticket_is_for_anyone() -> None:
    keys = TicketKeys([SECRET])
    assert keys.open(keys.seal(ticket(principal="local")), None, NOW, VALID).call_id == "sess_1"


@pytest.mark.parametrize("shows", [None, Principal("other", "token"), Principal("web", "key")])
def test_a_ticket_of_someone_else_is_foreign(shows: Principal | None) -> None:
    assert refusal(TicketKeys([SECRET]).seal(ticket()), shows) == "foreign"


def test_a_ticket_is_valid_for_its_time_and_a_minute_of_clocks_that_differ() -> None:
    keys = TicketKeys([SECRET])
    text = keys.seal(ticket())
    for now in (NOW - 60, NOW + VALID + 60):
        assert keys.open(text, WEB, now, VALID)
    for now in (NOW - 61, NOW + VALID + 61):
        assert refusal(text, now=now) == "stale"


def test_secrets_are_rotated_without_losing_a_call() -> None:
    before, both = TicketKeys([SECRET]), TicketKeys([OTHER, SECRET])
    assert both.open(before.seal(ticket()), WEB, NOW, VALID) == ticket()
    assert refusal(both.seal(ticket())) == "unknown_key"
    assert refusal(before.seal(ticket()), secret=OTHER) == "unknown_key"


@given(st.integers(min_value=0), st.integers(0, 7))
def test_a_ticket_with_any_bit_flipped_is_refused(place: int, bit: int) -> None:
    text = TicketKeys([SECRET]).seal(ticket()).encode()
    place %= len(text)
    flipped = bytes([*text[:place], text[place] ^ 1 << bit, *text[place + 1 :]])
    assert refusal(flipped.decode("latin1")) in ("damaged", "unknown_version", "unknown_key")


@given(st.text() | st.binary().map(lambda data: data.decode("latin1")))
def test_what_is_no_ticket_is_refused(text: str) -> None:
    assert refusal(text) in ("damaged", "unknown_version", "unknown_key")


def test_a_ticket_cut_short_is_refused() -> None:
    text = TicketKeys([SECRET]).seal(ticket())
    assert {refusal(text[:length]) for length in range(4, len(text), 4)} == {"damaged"}


def test_the_ticket_that_a_call_went_on_from_may_be_shown_again_and_an_earlier_one_not() -> None:
    used = UsedTickets(VALID)
    for number in (3, 3, 5, 5, 6):
        used.take(ticket(number=number), 0.0)
    with pytest.raises(TicketRefused, match="went on from a later ticket"):
        used.take(ticket(number=5), 0.0)
    used.take(ticket(number=1, call_id="sess_2"), 0.0)


def test_no_ticket_opens_a_call_that_has_ended_until_it_has_gone_on_elsewhere() -> None:
    used = UsedTickets(VALID)
    used.ended("sess_1", 7, 0.0)
    with pytest.raises(TicketRefused, match="has ended"):
        used.take(ticket(number=7), 1.0)
    used.take(ticket(number=8), 1.0)


def test_what_was_used_is_forgotten_once_it_is_stale_anyhow() -> None:
    used = UsedTickets(VALID)
    used.ended("sess_1", 7, 0.0)
    used.ended("sess_2", 1, VALID)
    used.take(ticket(number=7), VALID)
