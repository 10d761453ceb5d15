"""What the server events of the OpenAI Realtime API (GA) hold: items, responses, usage, as types.

Pure. A field that is `UNSET` is not there. Source of the shapes: PyPI `openai`, `openai/types/realtime`.
"""

from collections.abc import Mapping
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from server.conversation.history import ItemStatus, PartKind, Role
from server.conversation.response import EndReason, ResponseStatus
from server.dialects.openai.session_parts import Format
from server.llm.interface import ImageDetail


class Content(Struct):
    """A part of a message: `text` of what is written, `transcript` of what is spoken (null while it is not known), and
    `image_url`, a data URI, with `detail` of what is shown."""

    type: PartKind
    text: str | UnsetType | None = UNSET
    transcript: str | UnsetType | None = UNSET
    image_url: str | UnsetType = UNSET
    detail: ImageDetail | UnsetType = UNSET


class _Item(Struct, tag_field="type", kw_only=True):
    id: str
    object: Literal["realtime.item"] = "realtime.item"
    status: ItemStatus


class Message(_Item, tag="message"):
    """Something said or typed."""

    role: Role
    content: list[Content]


class FunctionCall(_Item, tag="function_call"):
    """The model asks the application to run a function; `arguments` is JSON text."""

    call_id: str
    name: str
    arguments: str


class FunctionCallOutput(_Item, tag="function_call_output"):
    """What the application's function gave back."""

    call_id: str
    output: str


Item = Message | FunctionCall | FunctionCallOutput


class TextPart(Struct, tag="text", tag_field="type"):
    """The part of an answer that is written."""

    text: str


class AudioPart(Struct, tag="audio", tag_field="type"):
    """The part of an answer that is spoken."""

    transcript: str


Part = TextPart | AudioPart


class TokensByKind(Struct):
    """Tokens, by what they stand for."""

    text_tokens: int
    audio_tokens: int
    image_tokens: int | UnsetType = UNSET


class InputTokens(TokensByKind, kw_only=True):
    """Tokens that the model read; `cached_tokens` of them cost less."""

    cached_tokens: int
    cached_tokens_details: TokensByKind


class Usage(Struct):
    """Tokens, as the language model's provider counted them."""

    total_tokens: int
    input_tokens: int
    output_tokens: int
    input_token_details: InputTokens
    output_token_details: TokensByKind


class Failure(Struct):
    """Why an answer failed."""

    type: Literal["server_error"]
    code: str
    message: str


class StatusDetails(Struct):
    """How an answer ended, and why, where it was cut off or failed."""

    type: ResponseStatus
    reason: EndReason | UnsetType = UNSET
    error: Failure | UnsetType = UNSET


class GivenAudioOutput(Struct):
    """How an answer sounds; `format` is there where it is not the session's."""

    voice: str
    format: Format | UnsetType = UNSET


class GivenAudio(Struct):
    """The audio settings of an answer."""

    output: GivenAudioOutput


class Response(Struct):
    """An answer. `status_details` and `usage` are null until it has ended, `conversation_id` if it is beside it."""

    id: str
    object: Literal["realtime.response"]
    status: ResponseStatus
    status_details: StatusDetails | None
    output: list[Item]
    conversation_id: str | None
    output_modalities: list[Literal["text", "audio"]]
    max_output_tokens: int | Literal["inf"]
    audio: GivenAudio
    metadata: Mapping[str, str] | None
    usage: Usage | None


class LogProbability(Struct):
    """A token of a transcript, its bytes (it may end in the middle of a character) and its natural log probability."""

    token: str
    bytes: list[int]
    logprob: float
