"""The test vector of docs/protocol.md."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from server.access.auth import Principal
from server.access.ticket_errors import TicketFault, TicketRefused
from server.access.tickets import TicketKeys

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
ISSUED_AT = 1_800_000_000.0


@pytest.fixture
def vector() -> dict[str, Any]:
    section = PAGE.partition("## Resuming a call")[2]
    return dict(json.loads(re.search(r"```json\n(.*?)```", section, re.DOTALL)[1]))  # type: ignore[index]


def test_the_ticket_opens_to_what_the_page_says(vector: dict[str, Any]) -> None:
    kind, subject = vector["principal"].split(":")
    principal = Principal(subject, kind)
    ticket = TicketKeys([vector["secret"]]).open(vector["ticket"], principal, ISSUED_AT, 60.0)
    assert json.loads(msgspec.json.encode(ticket)) == vector["plain"]


@pytest.mark.parametrize("reason", get_args(TicketFault))
def test_each_refusal_is_on_the_page(reason: TicketFault) -> None:
    assert f"| `{TicketRefused(reason).code}` |" in PAGE
