"""The server events of the OpenAI Realtime API (GA) that this server sends, and five of our own, as types.

Pure. Bytes are base64 on the wire, times milliseconds. Source of the shapes: PyPI `openai`, `openai/types/realtime`.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from server.access.call_time import EndReason
from server.conversation.commands import EndOfTurn, Judgement
from server.dialects.openai.server_objects import Item, LogProbability, Part, Response
from server.dialects.openai.session import Session, TranscriptionSession

_SESSIONS = [{"$ref": f"#/components/schemas/{kind.__name__}"} for kind in (Session, TranscriptionSession)]
AnySession = Annotated[Raw, Meta(extra_json_schema={"oneOf": _SESSIONS})]
"""A session, encoded: tools can be many, and are encoded once."""


class ServerEvent(Struct, tag_field="type", kw_only=True):
    """What all have in common; `event_id` is unique in the call."""

    event_id: str = ""


class ErrorDetails(Struct, kw_only=True):
    """What was wrong: `param` is the path of it in the client's event, `event_id` that event's own."""

    type: Literal["invalid_request_error"] = "invalid_request_error"
    code: str
    message: str
    param: str | None
    event_id: str | None


class Error(ServerEvent, tag="error"):
    """A client's event was not acted on; the call goes on."""

    error: ErrorDetails


class SessionCreated(ServerEvent, tag="session.created"):
    """The first event of a connection, with the session's settings."""

    session: AnySession


class SessionUpdated(ServerEvent, tag="session.updated"):
    """The session's settings after session.update, or of the call that goes on here."""

    session: AnySession


# --- what the caller says


class SpeechStarted(ServerEvent, tag="input_audio_buffer.speech_started"):
    """The caller began to speak at `audio_start_ms` of their audio; it will become item `item_id`."""

    item_id: str
    audio_start_ms: int


class SpeechStopped(ServerEvent, tag="input_audio_buffer.speech_stopped"):
    """The caller's turn ended at `audio_end_ms` of their audio."""

    item_id: str
    audio_end_ms: int


class TimeoutTriggered(ServerEvent, tag="input_audio_buffer.timeout_triggered"):
    """Nobody has spoken for `idle_timeout_ms`; that silence becomes item `item_id`, and is answered."""

    item_id: str
    audio_start_ms: int
    audio_end_ms: int


class Committed(ServerEvent, tag="input_audio_buffer.committed"):
    """The caller's audio became item `item_id`, after item `previous_item_id`."""

    item_id: str
    previous_item_id: str | None


class Cleared(ServerEvent, tag="input_audio_buffer.cleared"):
    """The caller's uncommitted audio was dropped."""


class _AboutAudioOfItem(ServerEvent, kw_only=True):
    item_id: str
    content_index: int = 0


class TranscriptionDelta(_AboutAudioOfItem, tag="conversation.item.input_audio_transcription.delta"):
    """More words of the caller, who may still be speaking."""

    delta: str


class Duration(Struct):
    """What a transcript cost: `seconds` of audio."""

    seconds: float
    type: Literal["duration"] = "duration"


class TranscriptionCompleted(_AboutAudioOfItem, tag="conversation.item.input_audio_transcription.completed"):
    """All words of the caller's turn; where deltas said something else, this counts. `logprobs` if the session includes
    them."""

    transcript: str
    usage: Duration
    logprobs: list[LogProbability] | UnsetType = UNSET


class TranscriptionError(Struct):
    """Why the words will not be known."""

    code: str
    message: str
    type: Literal["transcription_error"] = "transcription_error"


class TranscriptionFailed(_AboutAudioOfItem, tag="conversation.item.input_audio_transcription.failed"):
    """The words of the caller's turn will not be known."""

    error: TranscriptionError


# --- items


class ItemAdded(ServerEvent, tag="conversation.item.added"):
    """An item entered the conversation, after item `previous_item_id`; it may still grow."""

    previous_item_id: str | None
    item: Item


class ItemDone(ServerEvent, tag="conversation.item.done"):
    """An item will not grow any more."""

    previous_item_id: str | None
    item: Item


class ItemRetrieved(ServerEvent, tag="conversation.item.retrieved"):
    """An item as it stands."""

    item: Item


class ItemDeleted(ServerEvent, tag="conversation.item.deleted"):
    """An item left the conversation."""

    item_id: str


class ItemTruncated(ServerEvent, tag="conversation.item.truncated"):
    """A spoken item was cut to the first `audio_end_ms` of its audio, and its text to those words."""

    item_id: str
    content_index: int
    audio_end_ms: int


# --- responses


class ResponseCreated(ServerEvent, tag="response.created"):
    """An answer is under way."""

    response: Response


class ResponseDone(ServerEvent, tag="response.done"):
    """An answer has ended; its status says how."""

    response: Response


class RateLimitsUpdated(ServerEvent, tag="rate_limits.updated"):
    """Follows each response.done, and is empty: no limit here is counted in requests or tokens."""

    rate_limits: list[str] = []


class _InResponse(ServerEvent, kw_only=True):
    """Where in a response something belongs: its item number `output_index`."""

    response_id: str
    output_index: int


class OutputItemAdded(_InResponse, tag="response.output_item.added"):
    """The answer's next item begins."""

    item: Item


class OutputItemDone(_InResponse, tag="response.output_item.done"):
    """The answer's item is complete, or as complete as it will be."""

    item: Item


class _InPart(_InResponse, kw_only=True):
    """Where in a response's message something belongs; it has one part."""

    item_id: str
    content_index: int = 0


class PartAdded(_InPart, tag="response.content_part.added"):
    """The message's part begins."""

    part: Part


class PartDone(_InPart, tag="response.content_part.done"):
    """The message's part is complete."""

    part: Part


class OutputTextDelta(_InPart, tag="response.output_text.delta"):
    """More of an answer that is written."""

    delta: str


class OutputTextDone(_InPart, tag="response.output_text.done"):
    """All of the text."""

    text: str


class TranscriptDelta(_InPart, tag="response.output_audio_transcript.delta"):
    """The words of the audio that follows."""

    delta: str


class TranscriptDone(_InPart, tag="response.output_audio_transcript.done"):
    """All words that were spoken."""

    transcript: str


class AudioDelta(_InPart, tag="response.output_audio.delta"):
    """More audio, in the response's format."""

    delta: bytes


class AudioDone(_InPart, tag="response.output_audio.done"):
    """All audio of the part has been sent."""


class _InCall(_InResponse, kw_only=True):
    item_id: str
    call_id: str


class ArgumentsDelta(_InCall, tag="response.function_call_arguments.delta"):
    """More of a function call's arguments, which are JSON text."""

    delta: str


class ArgumentsDone(_InCall, tag="response.function_call_arguments.done"):
    """A function call's arguments are complete."""

    name: str
    arguments: str


class PlaybackCleared(ServerEvent, tag="output_audio_buffer.cleared"):
    """The client is to drop what it has not played of the response."""

    response_id: str


# --- our own, for clients that asked for them


class TurnTimings(ServerEvent, tag="x_turn.timings"):
    """With an answer's first audio: milliseconds from the last speech to each stage (`x_turn_timings`)."""

    response_id: str
    stages_ms: dict[str, float]


class TurnDecided(ServerEvent, tag="x_turn.decided"):
    """What turn-taking thought of what it heard, and why (`x_turn_decisions`).

    `decision` is "turn_ended", with the rule that ended it as `reason`, the silence since the last speech, the longest
    pause within the turn, how finished it sounded (0 to 1; null: not asked) and by how many dB its last syllable was
    softer than the rest (null: too short to say). Or it is what a voice was that was heard while the assistant spoke,
    with so much voice in it.
    """

    decision: Literal["turn_ended"] | Judgement
    reason: EndOfTurn | UnsetType = UNSET
    silence_ms: int | UnsetType = UNSET
    longest_pause_ms: int | UnsetType = UNSET
    sounds_finished: float | UnsetType | None = UNSET
    fall_db: float | UnsetType | None = UNSET
    voiced_ms: int | UnsetType = UNSET


class SessionExpiring(ServerEvent, tag="x_session.expiring"):
    """The node ends the call in so many seconds (`x_session_expiring`)."""

    reason: EndReason
    seconds_left: float


class CachedTokens(Struct):
    """Of the tokens that were read, those that cost less."""

    cached_tokens: int


class CallUsage(Struct):
    """Tokens of the call so far."""

    total_tokens: int
    input_tokens: int
    output_tokens: int
    input_token_details: CachedTokens


class SessionTicket(ServerEvent, tag="x_session.ticket"):
    """By this ticket the call goes on elsewhere, for `valid_seconds` (`x_resume`); keep the newest."""

    ticket: str
    valid_seconds: float
    usage: CallUsage


class SessionMove(ServerEvent, tag="x_session.move"):
    """Go on elsewhere with this ticket; the node keeps the call for `seconds_left` at most (`x_resume`)."""

    ticket: str
    seconds_left: float


SERVER_EVENTS: tuple[type[ServerEvent], ...] = tuple(
    each
    for name, each in list(vars().items())
    if isinstance(each, type) and issubclass(each, ServerEvent) and each is not ServerEvent and not name.startswith("_")
)
"""All of the above, in their order."""
