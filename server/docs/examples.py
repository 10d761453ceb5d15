"""An example of each event, from its type: required fields, and optional ones that say something here."""

from typing import Any

import msgspec
from msgspec import inspect

from server.dialects.openai.session import Session

_CREATED = Session(id="sess_5b31", model="voicefleet", instructions="Be kind.", expires_at=1_800_007_200)
_SESSION = {"type": "realtime", "instructions": "Be brief.", "audio": {"output": {"voice": "default"}}}
_TEXT = "Good morning."

# By type and field, else by field alone. A string that is in neither has no example, which is an error.
_VALUES: dict[str, Any] = {
    "Connected.protocol": "Call",
    "Connected.version": "1.0.0",
    "Key.digit": "4",
    "MarkName.name": "item_21aa:0",
    "MediaFormat.channels": 1,
    "MediaFormat.encoding": "audio/x-mulaw",
    "MediaFormat.sampleRate": 8000,
    "StreamDetails.customParameters": {"greeting": "Good morning."},
    "StreamDetails.tracks": ["inbound"],
    "accountSid": "AC5f0c",
    "callSid": "CA91d2",
    "payload": "/37+",
    "streamSid": "MZ18ad",
    "ArgumentsDelta.delta": '{"city": ',
    "CreateResponse.response": {"instructions": "Answer in one sentence."},
    "InputTokens.text_tokens": 212,
    "MessageItem.content": [{"type": "input_text", "text": _TEXT}],
    "SessionCreated.session": msgspec.to_builtins(_CREATED),
    "SessionUpdate.session": _SESSION,
    "SessionUpdated.session": msgspec.to_builtins(_CREATED.updated(_SESSION)),
    "TurnDecided.decision": "turn_ended",
    "TurnDecided.fall_db": 6.1,
    "TurnDecided.longest_pause_ms": 180,
    "TurnDecided.reason": "finished",
    "TurnDecided.silence_ms": 320,
    "TurnDecided.sounds_finished": 0.97,
    "TurnTimings.stages_ms": {"endpointing": 512.4, "stt": 541.9, "llm_first_token": 653.0},
    "arguments": '{"city": "Paris"}',
    "audio": "AAD//wEA",
    "audio_end_ms": 1920,
    "audio_start_ms": 640,
    "bytes": [71, 111, 111, 100],
    "call_id": "call_7d20",
    "code": "invalid_value",
    "content_index": 0,
    "conversation_id": "conversation",
    "delta": _TEXT,
    "event_id": "event_90ce_7",
    "id": "item_21aa",
    "input_tokens": 212,
    "item_id": "item_21aa",
    "logprob": -0.021,
    "message": "session.update: Object missing required field `type`",
    "metadata": None,
    "name": "get_weather",
    "output": "18 degrees",
    "output_tokens": 9,
    "param": "session.audio.input.format",
    "previous_item_id": None,
    "response_id": "resp_4c8e",
    "role": "assistant",
    "seconds": 1.28,
    "seconds_left": 60.0,
    "status": "completed",
    "text": _TEXT,
    "ticket": "AZ-Bp27XxuCPCnexC26gWBBhWJ0Rux56Tc6ams...",
    "token": "Good",
    "total_tokens": 221,
    "transcript": _TEXT,
    "valid_seconds": 180.0,
    "voice": "default",
}
_ALWAYS = {
    "event_id",
    "content_index",
    "object",
    "text",
    "CreateResponse.response",
    "StreamDetails.customParameters",
    "TurnDecided.reason",
    "TurnDecided.silence_ms",
    "TurnDecided.longest_pause_ms",
    "TurnDecided.sounds_finished",
    "TurnDecided.fall_db",
}


def example(kind: type) -> dict[str, Any]:
    """One of that type, as JSON gives it. Raises `LookupError` where a field has no example."""
    described = inspect.type_info(kind)
    assert isinstance(described, inspect.StructType), "events are structs"
    return _struct(described)


def _struct(described: inspect.StructType) -> dict[str, Any]:
    tag = {described.tag_field: described.tag} if described.tag_field else {}
    owner = described.cls.__name__
    return tag | {
        field.encode_name: _value(field, f"{owner}.{field.encode_name}")
        for field in described.fields
        if field.required or field.encode_name in _ALWAYS or f"{owner}.{field.encode_name}" in _ALWAYS
    }


def _value(field: inspect.Field, path: str) -> Any:
    kind = _first(field.type)
    if path in _VALUES:
        return _VALUES[path]
    if isinstance(kind, inspect.StructType | inspect.ListType | inspect.LiteralType | inspect.BytesType):
        return _of(kind)
    if field.encode_name in _VALUES:
        return _VALUES[field.encode_name]
    return _of(kind)


def _of(kind: inspect.Type) -> Any:
    match kind:
        case inspect.StructType():
            return _struct(kind)
        case inspect.ListType(item_type=item):
            inner = _first(item)
            return [_of(inner)] if isinstance(inner, inspect.StructType) else []
        case inspect.LiteralType(values=values):
            return values[0]
        case inspect.BytesType():
            return _VALUES["audio"]
        case inspect.IntType() | inspect.FloatType():
            return 0
    raise LookupError(f"no example of {kind}")


def _first(kind: inspect.Type) -> inspect.Type:
    """A type without what is said of it; of several, the first one that is not null."""
    if isinstance(kind, inspect.Metadata):
        return _first(kind.type)
    if isinstance(kind, inspect.UnionType):
        return _first(next(each for each in kind.types if not isinstance(each, inspect.NoneType)))
    return kind
