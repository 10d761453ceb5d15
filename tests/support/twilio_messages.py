"""The messages of Twilio's documentation ("Media Streams - WebSocket messages"), written down by hand."""

from base64 import b64encode
from typing import Any

STREAM = "MZ18ad3ab5a668481ce02b83e7395059f0"
CALL = "CA9a3f7c1e5b2d48609c7e4f1a8b6d2053"
ACCOUNT = "AC4d7e0b9a6c3f4518a2e1d9b7c5f30864"

CONNECTED: dict[str, Any] = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
START: dict[str, Any] = {
    "event": "start",
    "sequenceNumber": "1",
    "start": {
        "accountSid": ACCOUNT,
        "streamSid": STREAM,
        "callSid": CALL,
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"FirstName": "Jane", "LastName": "Doe", "RemoteParty": "Bob"},
    },
    "streamSid": STREAM,
}
MEDIA: dict[str, Any] = {
    "event": "media",
    "sequenceNumber": "4",
    "media": {"track": "inbound", "chunk": "2", "timestamp": "5", "payload": "no+JhoaJjpzS"},
    "streamSid": STREAM,
}
OUTBOUND_MEDIA: dict[str, Any] = {
    "event": "media",
    "sequenceNumber": "3",
    "media": {"track": "outbound", "chunk": "1", "timestamp": "5", "payload": "no+JhoaJjpz7"},
    "streamSid": STREAM,
}
MARK: dict[str, Any] = {"event": "mark", "sequenceNumber": "4", "streamSid": STREAM, "mark": {"name": "my label"}}
DTMF: dict[str, Any] = {
    "event": "dtmf",
    "streamSid": STREAM,
    "sequenceNumber": "5",
    "dtmf": {"track": "inbound_track", "digit": "1"},
}
STOP: dict[str, Any] = {
    "event": "stop",
    "sequenceNumber": "5",
    "stop": {"accountSid": ACCOUNT, "callSid": CALL},
    "streamSid": STREAM,
}

# What a server may send.
SENT_MEDIA: dict[str, Any] = {"event": "media", "streamSid": STREAM, "media": {"payload": "a3242saA"}}
SENT_MARK: dict[str, Any] = {"event": "mark", "streamSid": STREAM, "mark": {"name": "my label"}}
SENT_CLEAR: dict[str, Any] = {"event": "clear", "streamSid": STREAM}


def start(**parameters: str) -> dict[str, Any]:
    """A start whose TwiML has these parameters."""
    return START | {"start": START["start"] | {"customParameters": parameters}}


def media(audio: bytes) -> dict[str, Any]:
    """The caller's next audio (mu-law)."""
    return MEDIA | {"media": MEDIA["media"] | {"payload": b64encode(audio).decode()}}


def mark(name: str) -> dict[str, Any]:
    """A mark that comes back."""
    return MARK | {"mark": {"name": name}}


def dtmf(digit: str) -> dict[str, Any]:
    """A key is pressed."""
    return DTMF | {"dtmf": DTMF["dtmf"] | {"digit": digit}}
