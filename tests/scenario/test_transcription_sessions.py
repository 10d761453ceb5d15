"""Sessions that only transcribe: the caller's words, and never an answer."""

from typing import Any

import pytest

from server.conversation import commands as c
from server.dialects.dialect import FieldsIgnored
from tests.support.call import FADING, FRAME, Call

DELTA = "conversation.item.input_audio_transcription.delta"
COMPLETED = "conversation.item.input_audio_transcription.completed"


def transcribing(**audio_input: Any) -> Call:
    """A session whose recogniser takes two frames."""
    return Call(recognition_seconds=1.5 * FRAME, type="transcription", audio={"input": audio_input})


def quiet_between_words(call: Call) -> None:
    for _ in range(5):
        call.frame(FADING)


def test_the_caller_is_understood_and_not_answered() -> None:
    call = transcribing(turn_detection={"type": "server_vad", "idle_timeout_ms": 5000})
    call.caller_says("what is the time")
    call.silence(10.0)
    call.caller_says("hello")
    call.silence(1.0)
    assert [event["transcript"] for event in call.all_of(COMPLETED)] == ["what is the time", "hello"]
    assert (call.requests, call.said, call.all_of("response.created")) == ([], [], [])
    assert call.all_of("input_audio_buffer.timeout_triggered") == []


@pytest.mark.parametrize("kind", ["server_vad", "semantic_vad"])
def test_words_are_told_while_the_caller_speaks(kind: str) -> None:
    call = transcribing(turn_detection={"type": kind})
    call.caller_says("my name")
    quiet_between_words(call)
    call.caller_says("is Peter Smith")
    quiet_between_words(call)
    assert call.caller_is_speaking
    assert [event["delta"] for event in call.all_of(DELTA)] == ["my name"]
    call.silence(3.0)
    assert "".join(event["delta"] for event in call.all_of(DELTA)) == "my name is Peter Smith"
    assert call.last(COMPLETED)["transcript"] == "my name is Peter Smith"


def test_turns_by_hand_tell_words_before_their_end_too() -> None:
    call = transcribing(turn_detection=None)
    call.silence(1.0)
    for words in ("my name", "is Peter"):
        call.caller_says(words)
        quiet_between_words(call)
    assert [event["delta"] for event in call.all_of(DELTA)] == ["my name"]
    call.client_sends("input_audio_buffer.commit")
    call.silence(1.0)
    [committed] = call.all_of("input_audio_buffer.committed")
    assert {event["item_id"] for event in call.all_of(DELTA)} == {committed["item_id"]}
    assert call.last(COMPLETED)["transcript"] == "my name is Peter"
    assert call.requests == []


def test_voice_that_is_judged_after_its_commit_begins_no_turn() -> None:
    call = transcribing(turn_detection=None)
    call.caller_says("my name is Peter")
    call.client_sends("input_audio_buffer.commit")
    call._perform(call.conversation.voice_activity(0.5, 0.532, 0.9, call.now))
    call.silence(0.5)
    call.caller_says("hello")
    call.client_sends("input_audio_buffer.commit")
    call.silence(0.5)
    assert [event["transcript"] for event in call.all_of(COMPLETED)] == ["my name is Peter", "hello"]


def test_the_session_is_shown_as_one_that_transcribes() -> None:
    call = transcribing(transcription={"model": "gpt-realtime-whisper", "language": "en"})
    session = call.last("session.updated")["session"]
    assert (session["type"], session["object"]) == ("transcription", "realtime.transcription_session")
    assert session["audio"]["input"]["transcription"]["model"] == "gpt-realtime-whisper"
    assert set(session["audio"]) == {"input"}
    assert "instructions" not in session


def test_settings_of_answers_mean_nothing_there() -> None:
    call = Call(type="transcription", instructions="Be kind.", audio={"output": {"voice": "marin"}})
    assert call.commands(FieldsIgnored) == [FieldsIgnored(("instructions", "audio.output"))]


@pytest.mark.parametrize("response", [None, {"conversation": "none"}])
def test_an_answer_that_is_asked_for_is_refused(response: Any) -> None:
    call = transcribing()
    call.client_sends("response.create", response=response)
    [error] = call.all_of("error")
    assert "takes a session of type 'realtime'" in error["error"]["message"]
    assert call.requests == []


def test_the_type_is_settled_once_something_was_said() -> None:
    call = Call()
    call.turn("hello", "Hi.")
    call.client_sends("session.update", session={"type": "transcription"})
    assert call.errors == ["invalid_value"]
    assert call.all_of("session.updated") == []
    call = transcribing()
    call.client_sends("session.update", session={"type": "realtime"})
    call.turn("hello", "Hi.")
    assert call.heard == "Hi."


def test_a_call_that_ends_says_no_goodbye() -> None:
    call = transcribing()
    assert call.conversation.say_goodbye() == []
    assert call.conversation.at_rest(call.now)


def test_a_resumed_session_transcribes_on() -> None:
    call = transcribing(turn_detection={"type": "server_vad"})
    call.caller_says("hello")
    call.silence(1.0)
    other = call.resumed()
    other.caller_says("what is the time")
    other.silence(2.0)
    assert other.last(COMPLETED)["transcript"] == "what is the time"
    assert other.commands(c.Generate) == []
