"""Sessions that only transcribe: the caller's words, and never an answer."""

from typing import Any

import pytest

from server.conversation import commands as c
from server.conversation import events as e
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


# --- how probable the words are

LOGPROBS = ["item.input_audio_transcription.logprobs"]


@pytest.mark.parametrize("kind", ["realtime", "transcription"])
def test_a_client_is_told_how_probable_each_token_is(kind: str) -> None:
    call = Call(type=kind, include=LOGPROBS, audio={"input": {"transcription": {}}})
    assert call.last("session.updated")["session"]["include"] == LOGPROBS
    call.caller_says("hello there")
    call.silence(1.0)
    assert call.last(COMPLETED)["logprobs"] == [
        {"token": " hello", "bytes": list(b" hello"), "logprob": -0.25},
        {"token": " there", "bytes": list(b" there"), "logprob": -0.25},
    ]


def test_who_does_not_ask_is_not_told() -> None:
    call = Call(audio={"input": {"transcription": {}}})
    call.caller_says("hello there")
    call.silence(1.0)
    assert "logprobs" not in call.last(COMPLETED)


@pytest.mark.parametrize("fails_at_the_end", [False, True])
def test_the_tokens_of_a_long_turn_are_those_of_all_its_parts(fails_at_the_end: bool) -> None:
    call = transcribing(turn_detection={"type": "server_vad"})
    call.client_sends("session.update", session={"type": "transcription", "include": LOGPROBS})
    call.caller_says("this is the first part of a long turn", 8.0)
    call.silence(0.4)
    call.caller_says("and the rest", 1.0)
    call.recognition_fails = fails_at_the_end
    call.silence(2.0)
    completed = call.last(COMPLETED)
    said = "".join(each["token"] for each in completed["logprobs"]).strip()
    assert (
        said
        == completed["transcript"]
        == "this is the first part of a long turn" + " and the rest" * (not fails_at_the_end)
    )


def test_a_token_may_end_in_the_middle_of_a_character() -> None:
    call = transcribing(turn_detection=None)
    call.caller_says("hello")
    call.client_sends("input_audio_buffer.commit")
    [command] = call.commands(c.Transcribe)
    tokens = (e.Token(b" caf\xc3", -0.5), e.Token(b"\xa9", -0.1))
    call._perform(
        call.conversation.transcribed(
            command.attempt, e.Transcribed(command.item_id, 0, "café", 1.0, tokens=tokens), call.now
        )
    )
    first, second = call.last(COMPLETED)["logprobs"]
    assert bytes(first["bytes"] + second["bytes"]).decode() == " café"
    assert first["token"] == " caf\N{REPLACEMENT CHARACTER}"
