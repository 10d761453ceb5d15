"""A call as a ticket keeps it: the session's settings as the client set them, and the conversation.

Pure. A ticket has to fit into a client's message, so a conversation that is too long loses its oldest items for good,
by the rules by which the language model is not shown them (`truncation`).
"""

import msgspec
from msgspec import Struct

from server.access.ticket_errors import TicketRefused, TicketTooLarge
from server.conversation.snapshot import Snapshot
from server.dialects.openai.session import Session


class SavedCall(Struct, frozen=True, array_like=True):
    """All that another node has to know of a call."""

    session: Session
    conversation: Snapshot


def encode(call: SavedCall, most_bytes: int) -> bytes:
    """The call as JSON of at most so many bytes. Raises `TicketTooLarge`."""
    encoded = msgspec.json.encode(call)
    truncation = call.session.config().truncation
    if len(encoded) > most_bytes and truncation:
        surplus = len(encoded) - truncation.retention * most_bytes
        encoded = msgspec.json.encode(SavedCall(call.session, call.conversation.shortened(surplus)))
    if len(encoded) > most_bytes:
        raise TicketTooLarge(len(encoded), most_bytes)
    return encoded


def decode(state: bytes) -> SavedCall:
    """What `encode` was given. Raises `TicketRefused` for what a node with other settings of sessions has encoded."""
    try:
        return msgspec.json.decode(state, type=SavedCall)
    except msgspec.ValidationError:
        raise TicketRefused("unknown_version") from None
