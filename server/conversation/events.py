"""What a conversation tells the client, in a dialect's words.

The order in which a conversation gives events, and commands, is the order in which they are to be told and done.
"""

from dataclasses import dataclass

from server.conversation.history import Item, PartKind
from server.conversation.response import Response

# --- about what the caller says


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The caller began to speak; the utterance will become item `item_id`. Times are ms of the caller's audio."""

    item_id: str
    audio_start_ms: int


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The caller's utterance is over."""

    item_id: str
    audio_end_ms: int


@dataclass(frozen=True, slots=True)
class IdleTimedOut:
    """Nobody has spoken for the idle timeout; the silence becomes item `item_id`."""

    item_id: str
    audio_start_ms: int
    audio_end_ms: int


@dataclass(frozen=True, slots=True)
class AudioCommitted:
    """The caller's audio became item `item_id`. Without `wants_answer` it only said that the caller listens."""

    item_id: str
    previous_item_id: str | None
    wants_answer: bool = True


@dataclass(frozen=True, slots=True)
class AudioCleared:
    """The caller's uncommitted audio was dropped."""


@dataclass(frozen=True, slots=True)
class WordsHeard:
    """What the caller has said, though they may still be speaking; `delta` goes on where the one before it ended."""

    item_id: str
    delta: str


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of what was said, as the recogniser wrote it: bytes of UTF-8, and the natural log of its probability."""

    text: bytes
    log_probability: float


@dataclass(frozen=True, slots=True)
class Transcribed:
    """The words of a committed item are known; empty where there were none. `seconds` of audio were listened to.

    `untold` is what `WordsHeard` has not told of them. `tokens` are the transcript's, where the session wants them.
    """

    item_id: str
    content_index: int
    transcript: str
    seconds: float
    untold: str = ""
    tokens: tuple[Token, ...] = ()


@dataclass(frozen=True, slots=True)
class TranscriptionFailed:
    """The words of a committed item will not be known."""

    item_id: str
    content_index: int
    code: str
    message: str


# --- about items


@dataclass(frozen=True, slots=True)
class ItemAdded:
    """An item entered the conversation."""

    item: Item
    previous_item_id: str | None


@dataclass(frozen=True, slots=True)
class ItemDone:
    """An item will not grow any more."""

    item: Item
    previous_item_id: str | None


@dataclass(frozen=True, slots=True)
class ItemRetrieved:
    """An item as it stands, for a client that asked."""

    item: Item


@dataclass(frozen=True, slots=True)
class ItemDeleted:
    """An item left the conversation."""

    item_id: str


@dataclass(frozen=True, slots=True)
class ItemTruncated:
    """A spoken item was cut to what was heard."""

    item_id: str
    content_index: int
    audio_end_ms: int


# --- about responses


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a response something belongs."""

    response_id: str
    item_id: str
    output_index: int


@dataclass(frozen=True, slots=True)
class ResponseCreated:
    """An answer is under way."""

    response: Response


@dataclass(frozen=True, slots=True)
class ResponseDone:
    """An answer has ended; its status says how."""

    response: Response


@dataclass(frozen=True, slots=True)
class OutputItemAdded:
    """The answer's next item begins."""

    place: Place
    item: Item


@dataclass(frozen=True, slots=True)
class OutputItemDone:
    """The answer's item is complete, or as complete as it will be."""

    place: Place
    item: Item


@dataclass(frozen=True, slots=True)
class PartAdded:
    """The answer's message begins its one part."""

    place: Place
    kind: PartKind


@dataclass(frozen=True, slots=True)
class PartDone:
    """The message's part is complete; `text` is all of it that was sent."""

    place: Place
    kind: PartKind
    text: str


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More text of the part: written, or the words of the audio that follows."""

    place: Place
    kind: PartKind
    delta: str


@dataclass(frozen=True, slots=True)
class AudioDelta:
    """More audio of the part: `audio` is in the client's own format."""

    place: Place
    audio: bytes


@dataclass(frozen=True, slots=True)
class ArgumentsDelta:
    """More of a function call's arguments."""

    place: Place
    call_id: str
    delta: str


@dataclass(frozen=True, slots=True)
class ArgumentsDone:
    """A function call's arguments are complete."""

    place: Place
    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class PlaybackCleared:
    """The client is to drop what it has not played of the response."""

    response_id: str


Event = (
    SpeechStarted
    | SpeechStopped
    | IdleTimedOut
    | AudioCommitted
    | AudioCleared
    | WordsHeard
    | Transcribed
    | TranscriptionFailed
    | ItemAdded
    | ItemDone
    | ItemRetrieved
    | ItemDeleted
    | ItemTruncated
    | ResponseCreated
    | ResponseDone
    | OutputItemAdded
    | OutputItemDone
    | PartAdded
    | PartDone
    | TextDelta
    | AudioDelta
    | ArgumentsDelta
    | ArgumentsDone
    | PlaybackCleared
)
