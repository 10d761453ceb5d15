"""The messages of a bidirectional Twilio Media Stream, as types: six that Twilio sends, three that it takes.

Source: Twilio's documentation, "Media Streams - WebSocket messages". Fields that this server has no use for are passed
over; numbers arrive as text there, and are not needed.
"""

from typing import Any, Literal

import msgspec
from msgspec import Struct

Digit = Literal["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "#", "A", "B", "C", "D"]


class _Message(Struct, tag_field="event", rename="camel"):
    pass


class Connected(_Message, tag="connected"):
    """The first message: the protocol of those that follow."""

    protocol: str
    version: str


class MediaFormat(Struct, rename="camel"):
    """How audio is encoded: `audio/x-mulaw` at 8000 Hz in 1 channel, always."""

    encoding: str
    sample_rate: int
    channels: int


class StreamDetails(Struct, rename="camel"):
    """What a stream is of. `custom_parameters` are the `<Parameter>` elements of its TwiML."""

    stream_sid: str
    account_sid: str
    call_sid: str
    tracks: list[Literal["inbound", "outbound"]]
    media_format: MediaFormat
    custom_parameters: dict[str, str] = {}


class Start(_Message, tag="start"):
    """The second message, once."""

    start: StreamDetails
    stream_sid: str


class InboundAudio(Struct):
    """The caller's next audio (mu-law; base64 on the wire); on the outbound track it is our own."""

    payload: bytes
    track: Literal["inbound", "outbound"] = "inbound"


class Media(_Message, tag="media"):
    """20 ms of the call, every 20 ms."""

    media: InboundAudio
    stream_sid: str


class Key(Struct):
    """A key of the caller's telephone."""

    digit: Digit


class Dtmf(_Message, tag="dtmf"):
    """The caller has pressed a key."""

    dtmf: Key
    stream_sid: str


class MarkName(Struct):
    """A name of ours."""

    name: str


class Mark(_Message, tag="mark"):
    """From Twilio: all audio before the mark has been played, or was cleared. From us: say so when it has been."""

    mark: MarkName
    stream_sid: str


class Stopped(Struct, rename="camel"):
    """Which call it was of."""

    account_sid: str
    call_sid: str


class Stop(_Message, tag="stop"):
    """The last message: the caller has hung up, or the call goes on without the stream."""

    stop: Stopped
    stream_sid: str


class OutboundAudio(Struct):
    """Audio for the caller: mu-law without a header; base64 on the wire."""

    payload: bytes


class OutboundMedia(_Message, tag="media"):
    """Play this after what was sent before."""

    stream_sid: str
    media: OutboundAudio


class Clear(_Message, tag="clear"):
    """Drop what has not been played; pending marks come back at once."""

    stream_sid: str


TwilioMessage = Connected | Start | Media | Dtmf | Mark | Stop
ServerMessage = OutboundMedia | Mark | Clear

_EVENTS = {str(message.__struct_config__.tag) for message in TwilioMessage.__args__}
_decoder = msgspec.json.Decoder(TwilioMessage)


class _Envelope(Struct):
    event: Any = None


def decode(message: str) -> TwilioMessage | None:
    """The message; None for one of an event that this server does not know, which Twilio may add some day.

    Raises `msgspec.DecodeError`, `UnicodeError` or `RecursionError`.
    """
    try:
        decoded: TwilioMessage = _decoder.decode(message)
    except msgspec.ValidationError:
        event = msgspec.json.decode(message, type=_Envelope).event
        if isinstance(event, str) and event not in _EVENTS:
            return None
        raise
    return decoded


def encode(message: ServerMessage) -> bytes:
    """The message as it is sent."""
    return msgspec.json.encode(message)
