"""What the OpenAI dialect passes on, passes over and tells."""

import json
from typing import Any

from server.audio.formats import AudioFormatError
from server.dialects.dialect import AudioReceived, TurnTimings
from tests.support.call import Call

_TEXT = [{"type": "input_text", "text": "hello"}]


def message(**fields: Any) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": _TEXT} | fields


def event(type: str, **fields: Any) -> str:
    return json.dumps({"type": type, "event_id": "mine", **fields})


def test_audio_is_handed_over_as_it_came() -> None:
    [output] = Call().dialect.receive(event("input_audio_buffer.append", audio="AAEC"), 0.0)
    assert output == AudioReceived(b"\x00\x01\x02")


def test_fields_that_nobody_knows_are_passed_over() -> None:
    call = Call()
    call.client_sends(
        "session.update", session={"parallel_tool_calls": True, "reasoning": {"effort": "low"}}, trace="x"
    )
    call.client_sends("conversation.item.create", item=message(status="completed", object="realtime.item"))
    call.client_sends("response.create", response={"reasoning": {}, "temperature": 0.8, "modalities": ["text"]})
    call.client_sends("input_audio_buffer.append", audio="", extra=1)
    assert call.errors == []
    assert call.answering


def test_an_error_that_the_session_found_is_told_in_the_clients_words() -> None:
    call = Call()
    [encoded] = call.dialect.encode(call.dialect.refuse(AudioFormatError("odd bytes"), "mine"))
    error = json.loads(encoded)["error"]
    assert error == {
        "type": "invalid_request_error",
        "code": "invalid_value",
        "message": "odd bytes",
        "param": None,
        "event_id": "mine",
    }


def test_the_session_is_told_first() -> None:
    call = Call()
    assert call.dialect.greet(call.now) == [], "and once"
    event = call.client.received[0]
    assert event["type"] == "session.created"
    assert event["session"]["audio"]["input"]["turn_detection"] == {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "idle_timeout_ms": None,
        "create_response": True,
        "interrupt_response": True,
        "x_eagerness": None,
    }


def test_turn_timings_are_told_only_to_a_client_that_asked() -> None:
    timings = TurnTimings("resp_1", {"stt": 612.5})
    assert Call().dialect.encode(timings) == []
    [encoded] = Call(x_turn_timings=True).dialect.encode(timings)
    told = json.loads(encoded)
    assert (told["type"], told["response_id"], told["stages_ms"]) == ("x_turn.timings", "resp_1", {"stt": 612.5})
