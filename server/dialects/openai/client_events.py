"""The eleven client events of the OpenAI Realtime API (GA), and two of our own, as types.

Fields that this server has no use for are accepted and passed over, as clients of every age send some; a wrong type in
a field that matters is refused with its path. Source: PyPI `openai`, `openai/types/realtime`.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from server.dialects.openai.session_parts import (
    Format,
    Reasoning,
    Temperature,
    TokenLimit,
    Tool,
    ToolChoice,
    WireToolFiller,
)
from server.llm.interface import ImageDetail


class _Event(Struct, tag_field="type", kw_only=True):
    event_id: str | None = None


class SessionUpdate(_Event, tag="session.update"):
    """Change some of the session's settings: any part of a `Session`."""

    session: dict[str, Any]


class AppendAudio(_Event, tag="input_audio_buffer.append"):
    """The caller's next audio; base64 on the wire."""

    audio: bytes


class CommitAudio(_Event, tag="input_audio_buffer.commit"):
    """End the caller's turn by hand."""


class ClearAudio(_Event, tag="input_audio_buffer.clear"):
    """Forget uncommitted audio."""


class ClearOutputAudio(_Event, tag="output_audio_buffer.clear"):
    """Drop the audio that has not been played."""


class ContentPart(Struct):
    """A part of a message. `image_url` is a data URI, `detail` how closely a model that can choose looks at it."""

    type: Literal["input_text", "input_audio", "input_image", "output_text", "output_audio", "text", "audio"]
    text: str | None = None
    audio: bytes | None = None
    transcript: str | None = None
    image_url: str | None = None
    detail: ImageDetail | None = None


class MessageItem(Struct, tag="message", tag_field="type"):
    """Something said or typed."""

    role: Literal["user", "assistant", "system"]
    content: list[ContentPart]
    id: str | None = None


class FunctionCallItem(Struct, tag="function_call", tag_field="type"):
    """A function call that the model made earlier."""

    name: str
    arguments: str
    call_id: str | None = None
    id: str | None = None


class FunctionCallOutputItem(Struct, tag="function_call_output", tag_field="type"):
    """What the application's function gave back."""

    call_id: str
    output: str
    id: str | None = None


class ItemReference(Struct, tag="item_reference", tag_field="type"):
    """An item of the conversation, in a response's own input."""

    id: str


WireItem = MessageItem | FunctionCallItem | FunctionCallOutputItem


class CreateItem(_Event, tag="conversation.item.create"):
    """Insert an item; `previous_item_id` None: at the end, "root": at the start."""

    item: WireItem
    previous_item_id: str | None = None


class RetrieveItem(_Event, tag="conversation.item.retrieve"):
    """Show an item as it stands."""

    item_id: str


class TruncateItem(_Event, tag="conversation.item.truncate"):
    """The caller heard only so much of an item."""

    item_id: str
    content_index: int
    audio_end_ms: Annotated[int, Meta(ge=0, le=2**31 - 1)]


class DeleteItem(_Event, tag="conversation.item.delete"):
    """Take an item out of the conversation."""

    item_id: str


class ResponseAudioOutput(Struct):
    """How one response sounds; None: as the session does."""

    voice: str | dict[str, Any] | None = None
    format: Format | None = None


class ResponseAudio(Struct):
    """The audio settings of one response."""

    output: ResponseAudioOutput | None = None


class ResponseParams(Struct):
    """Settings of one response; None is the session's own. `x_say` is the answer itself, word for word."""

    audio: ResponseAudio | None = None
    conversation: str | None = None
    input: list[WireItem | ItemReference] | None = None
    instructions: str | None = None
    max_output_tokens: TokenLimit | None = None
    metadata: dict[str, str] | None = None
    parallel_tool_calls: bool | None = None
    prompt: Any = None
    reasoning: Reasoning | None = None
    output_modalities: list[Literal["text", "audio"]] | None = None
    tool_choice: ToolChoice | None = None
    tools: list[Tool] | None = None
    x_interruptible: bool | None = None
    x_say: Annotated[str, Meta(max_length=4096, pattern=r"\S")] | None = None
    x_temperature: Temperature | None = None
    x_tool_filler: WireToolFiller | None = None


_RESPONSE_PARAMS = {"allOf": [{"$ref": "#/components/schemas/ResponseParams"}]}


class CreateResponse(_Event, tag="response.create"):
    """Answer now, as `ResponseParams` say."""

    response: Annotated[dict[str, Any], Meta(extra_json_schema=_RESPONSE_PARAMS)] | None = None


class CancelResponse(_Event, tag="response.cancel"):
    """Stop answering."""

    response_id: str | None = None


class Played(Struct):
    """The client has played the first `audio_end_ms` of the item."""

    item_id: str
    audio_end_ms: Annotated[int, Meta(ge=0, le=2**31 - 1)]


class ResumeSession(_Event, tag="x_session.resume"):
    """Go on with the call that the ticket is of; the first event on a connection."""

    ticket: str
    played: Played | None = None


class RetrieveTicket(_Event, tag="x_session.ticket.retrieve"):
    """Send a ticket of the call as it stands."""


ClientEvent = (
    SessionUpdate
    | AppendAudio
    | CommitAudio
    | ClearAudio
    | ClearOutputAudio
    | CreateItem
    | RetrieveItem
    | TruncateItem
    | DeleteItem
    | CreateResponse
    | CancelResponse
    | ResumeSession
    | RetrieveTicket
)

_EVENTS: dict[str, type[_Event]] = {str(event.__struct_config__.tag): event for event in ClientEvent.__args__}
CLIENT_EVENT_TYPES: tuple[str, ...] = tuple(_EVENTS)

UNDECODABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
"""Every way in which the decoding of a client's message fails; the last two are those of nested and of broken text."""

_decoder = msgspec.json.Decoder(ClientEvent)


class _Envelope(Struct):
    type: Any = None
    event_id: Any = None


def decode(message: str | bytes) -> ClientEvent:
    """The event in a text message.

    Raises `msgspec.DecodeError` for what is no JSON, its subclass `msgspec.ValidationError` for what is no event.
    """
    event: ClientEvent = _decoder.decode(message)
    return event


def event_type(name: str | None) -> type[_Event]:
    """The type of the events of that name; of a name that none has, what all have in common."""
    return _EVENTS.get(name or "", _Event)


def envelope(message: str | bytes) -> tuple[str | None, str | None]:
    """The type and event id of a message that may be wrong otherwise."""
    try:
        found = msgspec.json.decode(message, type=_Envelope)
    except UNDECODABLE:
        return None, None
    return (
        found.type if isinstance(found.type, str) else None,
        found.event_id if isinstance(found.event_id, str) else None,
    )
