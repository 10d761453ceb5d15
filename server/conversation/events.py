"""What a conversation says: events, which a dialect tells the client, and commands, which the pipeline carries out.

The order in which a conversation gives them is the order in which they are to be told and done.
"""

from dataclasses import dataclass, replace
from typing import Literal

from server.conversation.config import ResponseConfig
from server.conversation.history import Item, PartKind
from server.conversation.response import Response
from server.conversation.turn_policy import Reason
from server.conversation.turn_words import folded
from server.llm.interface import ChatRequest, UserText

EndOfTurn = Literal[Reason, "silence", "committed", "audio_gone"]
Judgement = Literal["interruption", "backchannel", "echo", "noise", "turn", "false"]

# --- events about what the caller says


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
class Transcribed:
    """The words of a committed item are known; empty where there were none. `seconds` of audio were listened to.

    `untold` is what `WordsHeard` has not told of them.
    """

    item_id: str
    content_index: int
    transcript: str
    seconds: float
    untold: str = ""


@dataclass(frozen=True, slots=True)
class TranscriptionFailed:
    """The words of a committed item will not be known."""

    item_id: str
    content_index: int
    code: str
    message: str


# --- events about items


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


# --- events about responses


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


# --- commands


@dataclass(frozen=True, slots=True)
class Transcribe:
    """Recognise `pcm` (16-bit mono, 16 kHz) and hand the words back with the same `item_id` and `attempt`.

    A `fragment` is what is heard so far of a voice that may be no turn: it is urgent, and need not be sure.
    """

    item_id: str
    attempt: int
    pcm: bytes
    fragment: bool = False


@dataclass(frozen=True, slots=True)
class Glimpse:
    """Say at once, and less surely than for `Transcribe`, what words are in `pcm`: the caller may still be speaking.

    No answer is needed; a new one of these for the same item takes the place of the last.
    """

    item_id: str
    attempt: int
    pcm: bytes


@dataclass(frozen=True, slots=True)
class JudgeTurn:
    """Say how finished `pcm` (16-bit mono, 16 kHz) sounds, which ends in a pause; with its `item_id` and `attempt`."""

    item_id: str
    attempt: int
    pcm: bytes


@dataclass(frozen=True, slots=True)
class StopTranscribing:
    """Neither words nor judgement are wanted any more: the caller went on, or the audio or its item is gone."""

    item_id: str


@dataclass(frozen=True, slots=True)
class GoesOn:
    """The rest is wanted of the answer `response_id`: `heard` seconds of its audio were, and `kept` is of its text."""

    response_id: str
    heard: float
    kept: str


@dataclass(frozen=True, slots=True)
class Generate:
    """Ask the language model, and speak (or write) its answer as `response`; `text_bytes` is the request's size.

    Where the rest of an answer that it `goes_on` with is at hand, the model need not be asked.
    """

    response: Response
    request: ChatRequest
    text_bytes: int
    goes_on: GoesOn | None = None


@dataclass(frozen=True, slots=True)
class Say:
    """Speak `words` as `response`; no model is asked."""

    response: Response
    words: str


@dataclass(frozen=True, slots=True)
class Speculate:
    """Ask the language model already, on the chance that the turn is over: of what it says nothing leaves before a
    `Generate` that it foresaw. `StopTranscribing` or `WentOn` of the item is the end of it; `text_bytes` as in
    `Generate`, `input_tokens` what the model is likely to count."""

    item_id: str
    config: ResponseConfig
    request: ChatRequest
    text_bytes: int
    input_tokens: int

    def foresaw(self, generate: Generate) -> bool:
        """Whether it asked just that: the same words of the model, to be said or written in the same way."""
        return self.config == generate.response.config and _folded(self.request) == _folded(generate.request)


@dataclass(frozen=True, slots=True)
class WentOn:
    """The caller went on after a moment of quiet, and what was asked on the chance of their end is in vain."""

    item_id: str


@dataclass(frozen=True, slots=True)
class StopGenerating:
    """Free the language model and the voice: nobody listens any more.

    `may_go_on`: the rest may be wanted yet, by the next `Generate`. Until then, or until this comes once more without
    it, what the model says is to be kept.
    """

    response_id: str
    may_go_on: bool = False


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The caller's turn is over; their last speech was `silence` seconds ago. A turn's waterfall starts here.

    `reason` is that of the turn policy or, where that has no say, of another rule; `longest_pause` is the longest one
    within the turn: a rule of plain silence shorter than that would have split it.
    """

    silence: float
    reason: EndOfTurn
    longest_pause: float = 0.0
    sounds_finished: float | None = None


@dataclass(frozen=True, slots=True)
class VoiceJudged:
    """Voice was heard while the assistant spoke, and it is known what it was; `voiced` seconds of it, to be counted.

    A "turn" outlasted the assistant's speech. "false": what was taken for an interruption had no words.
    """

    judgement: Judgement
    voiced: float = 0.0


@dataclass(frozen=True, slots=True)
class ItemsLeftOut:
    """The conversation has outgrown what the model can read: so many more of its oldest items are not shown to it."""

    count: int


@dataclass(frozen=True, slots=True)
class PlayoutRanDry:
    """The client had nothing to play in the middle of the answer: an underrun, to be counted."""


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
Command = (
    Transcribe
    | Glimpse
    | JudgeTurn
    | StopTranscribing
    | Generate
    | Say
    | Speculate
    | WentOn
    | StopGenerating
    | TurnEnded
    | VoiceJudged
    | ItemsLeftOut
    | PlayoutRanDry
)
Output = Event | Command


def _folded(request: ChatRequest) -> ChatRequest:
    """The request, however its last words are written."""
    messages = list(request.messages)
    if messages and isinstance(last := messages[-1], UserText):
        messages[-1] = UserText(folded(last.text))
    return replace(request, messages=messages)
