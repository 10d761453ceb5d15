"""Why a ticket opens no call, or can't be made, as typed errors; `code` is the client's word for it."""

from typing import Literal

from server.errors import VoicefleetError

TicketFault = Literal["damaged", "unknown_version", "unknown_key", "foreign", "stale", "used"]

_EXPLAINED: dict[TicketFault, str] = {
    "damaged": "it is not as a node made it",
    "unknown_version": "a node of another version made it",
    "unknown_key": "it was sealed with a secret that this node does not have",
    "foreign": "it was given to another key or token subject",
    "stale": "it is too old",
    "used": "its call has ended, or went on from a later ticket",
}


class TicketRefused(VoicefleetError):
    """A ticket that opens no call; `reason` is fit to be a metric's label, `code` is the client's word for it."""

    def __init__(self, reason: TicketFault) -> None:
        super().__init__(
            f"the ticket is refused: {_EXPLAINED[reason]}; takes the newest x_session.ticket of a call that was cut off"
        )
        self.reason = reason
        self.code = f"ticket_{reason}"


class TicketTooLarge(VoicefleetError):
    """The call does not fit into a ticket. Clients take a code in `ticket_` for the end of a call; this goes on."""

    code = "call_too_large"

    def __init__(self, size: int, most: int) -> None:
        super().__init__(
            f"the call comes to {size:,} bytes; a ticket takes at most {most:,}, which is half of a message "
            "(VOICE_MAX_MESSAGE_BYTES)"
        )
