"""What a dialect is to a session: the words of one wire protocol, on both sides of a conversation.

A dialect is pure. It reads a client's messages into calls on the conversation, and puts what the conversation says into
messages for the client. Sockets, pacing and decoding of audio are the session's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from server.access.call_time import Expiring
from server.audio.formats import AudioFormat
from server.conversation.commands import TurnEnded, VoiceJudged
from server.conversation.events import Event
from server.conversation.outputs import Output
from server.conversation.resuming import Played
from server.errors import VoicefleetError
from server.llm.interface import Usage
from server.wire_message import WireMessage

Fault = Literal[
    "no_start",
    "out_of_order",
    "foreign_stream",
    "binary_message",
    "invalid_message",
    "media_format",
    "parameters",
    "credentials",
    "audio_rate",
]


class ClientAtFault(VoicefleetError):
    """A client broke a protocol that knows no errors: its call ends with `close_code`.

    Neither the message nor `fault`, which is fit to be a metric's label, quotes what the client sent.
    """

    def __init__(self, fault: Fault, close_code: int, message: str) -> None:
        super().__init__(message)
        self.fault = fault
        self.close_code = close_code


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
    takes_images: bool = True
    languages: frozenset[str] | None = None


class Dialect(Protocol):
    """One client's protocol. All methods are cheap; none blocks."""

    input_format: AudioFormat
    output_format: AudioFormat

    def greet(self, now: float) -> Sequence[DialectOutput]:
        """What the client is told before it says anything; nothing if it has been."""
        ...

    def receive(self, message: str | bytes, now: float) -> Sequence[DialectOutput]:
        """Act on a client's message: `str` came as text, `bytes` as a binary one.

        A bad one gives the client's own kind of error among the outputs. Raises `ClientAtFault` where the protocol has
        none.
        """
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

    def encode(self, output: Told) -> list[WireMessage]:
        """The messages that tell `output`; none for what this client is not told."""
        ...
