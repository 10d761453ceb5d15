"""Every server event that the protocol names is sent at some point of some call, and parses with the official types."""

import json

import pytest
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from tests.support.call import TRANSCRIBED, Call

_PREFIX = "conversation.item.input_audio_transcription"


def _session(call: Call) -> None:
    call.client_sends("session.update", session={"type": "realtime", "instructions": "Be kind."})


def _conversation(call: Call) -> None:
    call.client_adds("hello")
    call.turn("tell me something", "Something.")
    item_id = call.last("response.output_item.done")["item"]["id"]
    call.client_sends("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=100)
    call.client_sends("conversation.item.retrieve", item_id=item_id)
    call.client_sends("conversation.item.delete", item_id=item_id)


def _failed_recognition(call: Call) -> None:
    call.recognition_fails = True
    call.caller_says("hello")
    call.silence(1.0)


def _written(call: Call) -> None:
    call.client_sends("response.create", response={"output_modalities": ["text"]})
    call.bot_writes("Hello.")
    call.bot_finishes()


def _function_call(call: Call) -> None:
    call.client_sends("response.create")
    call.bot_calls("f", "{}")
    call.bot_finishes("tool_calls")


def _idle(call: Call) -> None:
    turn_detection = {"type": "server_vad", "idle_timeout_ms": 1000}
    call.client_sends("session.update", session={"audio": {"input": {"turn_detection": turn_detection}}})
    call.turn("hello", "Hello.")
    call.silence(2.0)


def _cleared(call: Call) -> None:
    call.client_sends("input_audio_buffer.clear")
    call.client_sends("response.create")
    call.client_sends("output_audio_buffer.clear")


def _wrong(call: Call) -> None:
    call.client_sends("response.cancel")


_SPOKEN = {
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    f"{_PREFIX}.delta",
    f"{_PREFIX}.completed",
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "response.output_item.done",
    "conversation.item.done",
    "response.done",
    "rate_limits.updated",
}


@pytest.mark.parametrize(
    ("scenario", "sends"),
    [
        (_session, {"session.created", "session.updated"}),
        (
            _conversation,
            _SPOKEN | {f"conversation.item.{what}" for what in ("truncated", "retrieved", "deleted")},
        ),
        (_failed_recognition, {f"{_PREFIX}.failed"}),
        (_written, {"response.output_text.delta", "response.output_text.done"}),
        (_function_call, {f"response.function_call_arguments.{what}" for what in ("delta", "done")}),
        (_idle, {"input_audio_buffer.timeout_triggered"}),
        (_cleared, {"input_audio_buffer.cleared", "output_audio_buffer.cleared"}),
        (_wrong, {"error"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_event_is_sent_and_parses(scenario: object, sends: set[str]) -> None:
    call = Call(audio=TRANSCRIBED)
    assert callable(scenario)
    scenario(call)
    assert sends <= {event["type"] for event in call.client.received}
    parser: TypeAdapter[RealtimeServerEvent] = TypeAdapter(RealtimeServerEvent)
    for event in call.client.received:
        parsed = parser.validate_json(json.dumps(event), strict=True)
        assert parsed.type == event["type"]


def test_transcripts_are_sent_only_to_a_client_that_asked_for_them() -> None:
    call = Call()
    call.caller_says("hello")
    call.silence(1.0)
    call.recognition_fails = True
    call.caller_says("hello")
    call.silence(1.0)
    assert [event["type"] for event in call.client.received if event["type"].startswith(_PREFIX)] == []
    item_id = call.all_of("input_audio_buffer.committed")[0]["item_id"]
    [retrieved] = call.client_sends("conversation.item.retrieve", item_id=item_id)
    assert retrieved["item"]["content"] == [{"type": "input_audio", "transcript": "hello"}]
