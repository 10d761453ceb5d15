"""What a dialect is to a session: the words of one wire protocol, on both sides of a conversation.

A dialect is pure. It reads a client's messages into calls on the conversation, and puts what the conversation says into
messages for the client. Sockets, pacing and decoding of audio are the session's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from server.access.call_time import Expiring
from server.audio.formats import AudioFormat
from server.conversation.commands import TurnEnded, VoiceJudged
from server.conversation.events import Event
from server.conversation.outputs import Output
from server.conversation.resuming import Played
from server.errors import VoicefleetError
from server.llm.interface import Usage


@dataclass(frozen=True, slots=True)
class AudioReceived:
    """The client sent audio, in the dialect's `input_format`."""

    audio: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """A message of the dialect's own for the client, which the conversation has no part in.

    `limit` names the limit that the client met, if it did.
    """

    message: dict[str, Any]
    limit: str = ""


@dataclass(frozen=True, slots=True)
class TurnTimings:
    """A turn's waterfall, for a client that asked for it: ms from the caller's last speech to each stage."""

    response_id: str
    stages_ms: dict[str, float]


@dataclass(frozen=True, slots=True)
class FieldsIgnored:
    """The client set fields that mean nothing here; their names, for the log."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TicketWanted:
    """The client is to have a ticket of the call as it stands now."""


@dataclass(frozen=True, slots=True)
class TicketShown:
    """The client wants to go on with the call that the ticket is of; `played` is what it says that the caller heard."""

    ticket: str
    played: Played | None = None


@dataclass(frozen=True, slots=True)
class TicketIssued:
    """A ticket for the client, good for so many seconds; `usage` is that of the call so far."""

    ticket: str
    valid_seconds: float
    usage: Usage


@dataclass(frozen=True, slots=True)
class Move:
    """The client is to go on elsewhere with this ticket: the node keeps the call for so many more seconds at most."""

    ticket: str
    seconds_left: float


Told = Event | Reply | TurnTimings | TurnEnded | VoiceJudged | Expiring | TicketIssued | Move
DialectOutput = Output | AudioReceived | FieldsIgnored | TicketWanted | TicketShown | Told


@dataclass(frozen=True, slots=True)
class Abilities:
    """What the node can do of what clients ask for, so that a dialect refuses the rest by name.

    `languages` are the codes of those that it understands; None: not known, and none is refused.
    """

    calls_functions: bool = True
    languages: frozenset[str] | None = None


class Dialect(Protocol):
    """One client's protocol. All methods are cheap; none blocks."""

    input_format: AudioFormat
    output_format: AudioFormat

    def greet(self) -> Sequence[DialectOutput]:
        """What the client is told before it says anything; nothing if it has been."""
        ...

    def receive(self, message: str | bytes, now: float) -> Sequence[DialectOutput]:
        """Act on a client's message; a bad one gives the client's own kind of error among the outputs."""
        ...

    @property
    def can_resume(self) -> bool:
        """Whether the client knows what to do with a ticket."""
        ...

    def state(self, now: float, most_bytes: int) -> bytes:
        """The call as a ticket keeps it, in at most so many bytes. Raises `TicketTooLarge`."""
        ...

    def resume(self, state: bytes, played: Played | None, now: float) -> Sequence[DialectOutput]:
        """Go on with the call that `state` is of; nothing has been said on this one yet. Raises `TicketRefused`."""
        ...

    def refuse(self, error: VoicefleetError) -> Reply:
        """The client's own kind of error."""
        ...

    def encode(self, output: Told) -> list[bytes]:
        """The messages (UTF-8 text) that tell `output`; none for what this client is not told."""
        ...
