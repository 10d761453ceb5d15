"""What the OpenAI dialect passes on, passes over and tells."""

import json
from base64 import b64encode
from typing import Any

from server.audio.formats import AudioFormatError
from server.dialects.dialect import AudioReceived, Reply, TurnTimings
from server.dialects.openai.dialect import OpenAiDialect
from server.limits import Limits
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
    dialect = Call().dialect
    assert isinstance(dialect, OpenAiDialect)
    [encoded] = dialect.encode(dialect.refuse(AudioFormatError("odd bytes"), "mine"))
    error = json.loads(encoded.data)["error"]
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
    told = json.loads(encoded.data)
    assert (told["type"], told["response_id"], told["stages_ms"]) == ("x_turn.timings", "resp_1", {"stt": 612.5})


# --- audio in binary messages


def test_a_binary_message_is_the_callers_audio_and_json_is_taken_beside_it() -> None:
    dialect = Call(binary_audio=True).dialect
    assert dialect.receive(b"\x00\x01\x02", 0.0) == [AudioReceived(b"\x00\x01\x02")]
    assert dialect.receive(event("input_audio_buffer.append", audio="AAEC"), 0.0) == [AudioReceived(b"\x00\x01\x02")]


def test_an_answers_audio_is_sent_as_it_is_and_everything_else_as_on_any_call() -> None:
    base64, binary = Call(), Call(binary_audio=True)
    for call in (base64, binary):
        call.turn("hello", "Good morning.")
        call.turn("and now", "Good night.")
    deltas = base64.all_of("response.output_audio.delta")
    spoken = {delta["item_id"] for delta in deltas}
    assert len(spoken) == 2
    assert {item: binary.client.audio(item) for item in spoken} == {item: base64.client.audio(item) for item in spoken}
    others = [told for told in base64.client.received if told not in deltas]
    kinds = [told["type"] for told in others]
    assert [told["type"] for told in binary.client.received] == kinds


def test_an_interrupted_answer_of_a_binary_call_goes_on_elsewhere_as_audio() -> None:
    call = Call(binary_audio=True, x_resume=True)
    call.caller_says("count to ten")
    call.silence(1.0)
    call.bot_says("One two three four five.")
    elsewhere = call.resumed()
    assert elsewhere.dialect.receive(b"\x00\x01", elsewhere.now) == [AudioReceived(b"\x00\x01")]
    elsewhere.bot_says("Six.")
    elsewhere.bot_finishes()
    assert elsewhere.client.audio(elsewhere.last("response.output_item.added")["item"]["id"])
    assert elsewhere.all_of("response.output_audio.delta") == []


def test_audio_that_comes_too_fast_is_refused_however_it_comes() -> None:
    call = Call(binary_audio=True, limits=Limits(audio_rate=1.0, audio_burst_seconds=1.0))
    second = bytes(call.dialect.input_format.bytes_per_second)
    assert call.dialect.receive(second, call.now) == [AudioReceived(second)]
    for message in (second, event("input_audio_buffer.append", audio=b64encode(second).decode())):
        [refused] = call.dialect.receive(message, call.now)
        assert isinstance(refused, Reply)
        assert (refused.limit, refused.message["error"]["code"]) == ("audio_rate", "rate_limit_exceeded")


def test_a_call_is_not_resumed_after_binary_audio() -> None:
    call = Call(binary_audio=True)
    call.dialect.receive(b"\x00\x01", call.now)
    call.client_sends("x_session.resume", ticket="sealed")
    assert call.errors == ["resume_not_first"]


def test_a_binary_message_on_a_call_that_did_not_ask_is_told_how_to_ask() -> None:
    [refused] = Call().dialect.receive(b"\x00\x01", 0.0)
    assert isinstance(refused, Reply)
    assert "?audio=binary" in refused.message["error"]["message"]
