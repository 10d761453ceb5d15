"""A television or a colleague behind the caller, while the assistant is silent; and callers who speak softly."""

from typing import Any

import pytest

from server.conversation import commands as c
from server.llm.interface import UserText
from tests.support.call import FRAME, SILENCE, SPEECH, Call, server_vad

_STORY = "Once upon a time there was a farmer who had three sons and a mill."
_DETECTIONS = [{"type": "server_vad", "x_eagerness": "auto"}, {"type": "semantic_vad"}]
_JUDGED = server_vad(x_eagerness="auto")
_QUESTION = "what is the capital of France"


def with_television(turn_detection: dict[str, Any]) -> Call:
    """A call in which a question was answered while a television was on all the time."""
    call = Call(audio={"input": {"turn_detection": turn_detection}})
    call.caller_says(_QUESTION)
    call.room_talks(1.2)
    call.bot_says("Paris.", seconds=0.5)
    call.bot_finishes()
    call.room_talks(2.0)
    return call


@pytest.mark.parametrize("turn_detection", _DETECTIONS)
def test_a_voice_from_afar_does_not_keep_the_callers_turn_open(turn_detection: dict[str, Any]) -> None:
    # pipecat#670: a television behind the caller, and they are never answered
    call = Call(audio={"input": {"turn_detection": turn_detection}})
    call.caller_says(_QUESTION)
    call.room_talks(1.0)
    assert not call.caller_is_speaking
    assert len(call.requests) == 1
    [said] = call.asked
    assert isinstance(said, UserText)
    assert said.text.startswith(_QUESTION)


@pytest.mark.parametrize("turn_detection", _DETECTIONS)
def test_a_voice_from_afar_begins_no_turn_once_the_caller_has_spoken(turn_detection: dict[str, Any]) -> None:
    call = with_television(turn_detection)
    call.room_talks(8.0)
    assert len(call.all_of("input_audio_buffer.speech_started")) == 1
    assert len(call.requests) == 1


@pytest.mark.parametrize("turn_detection", _DETECTIONS)
def test_the_caller_is_heard_over_a_voice_from_afar_and_not_that(turn_detection: dict[str, Any]) -> None:
    call = with_television(turn_detection)
    call.room_talks(3.0)
    call.caller_says("and of Spain")
    started = call.last("input_audio_buffer.speech_started")["audio_start_ms"]
    assert call._audio * FRAME * 1000 - started == pytest.approx(1000 + 300 + 500, abs=100)
    call.room_talks(1.2)
    assert len(call.requests) == 2
    assert "and of Spain" in str(call.asked[-1])


def test_before_the_words_of_the_first_turn_are_known_its_level_counts() -> None:
    call = Call(audio=_JUDGED, recognition_seconds=1.5)
    call.caller_says(_QUESTION)
    call.silence(0.7)
    call.room_talks(0.5)
    assert not call.caller_is_speaking


def test_a_loud_noise_is_not_the_callers_level() -> None:
    call = Call(audio=_JUDGED)
    call.caller_makes_noise(0.5)
    call.silence(1.0)
    call.caller_says(_QUESTION, sound="far")
    call.silence(1.0)
    assert call.asked == [UserText(_QUESTION)]


def test_what_began_from_afar_while_the_assistant_spoke_begins_no_turn_either() -> None:
    call = Call(audio=_JUDGED)
    call.caller_says("tell me a story")
    call.silence(1.0)
    call.bot_says(_STORY, seconds=4.0)
    call.bot_finishes()
    call.silence(2.0)
    call.room_talks(8.0)
    assert not call.caller_is_speaking
    call.caller_says(_QUESTION)
    call.room_talks(1.2)
    assert len(call.requests) == 2
    said = call.asked[-1]
    assert isinstance(said, UserText)
    assert _QUESTION in said.text
    assert len(said.text.split()) <= len(_QUESTION.split()) + 4  # the television said 24


def test_a_voice_from_afar_does_not_put_the_idle_prompt_off() -> None:
    call = Call(audio=server_vad(idle_timeout_ms=5000, x_eagerness="auto"))
    call.turn("hello", "Hello.")
    call.room_talks(5.2)
    assert len(call.all_of("input_audio_buffer.timeout_triggered")) == 1


# --- a caller who speaks softly


@pytest.mark.parametrize("turn_detection", _DETECTIONS)
def test_words_that_are_spoken_more_softly_belong_to_the_turn(turn_detection: dict[str, Any]) -> None:
    call = Call(audio={"input": {"turn_detection": turn_detection}})
    call.caller_says("I would like to book a table")
    call.caller_says("if that is possible at all", seconds=1.5, sound="soft")
    assert call.caller_is_speaking
    call.silence(1.0)
    assert call.asked == [UserText("I would like to book a table if that is possible at all")]


def test_a_sound_within_a_word_may_be_as_soft_as_a_voice_from_afar() -> None:
    call = Call(audio=_JUDGED)
    call.caller_says("this is")
    call.caller_says("", seconds=0.35, sound="far")
    call.caller_says("it")
    call.silence(1.0)
    assert call.asked == [UserText("this is it")]
    assert len(call.commands(c.Transcribe)) == 1  # it was no pause


def test_a_caller_who_speaks_more_softly_than_before_is_heard_at_once() -> None:
    call = Call(audio=_JUDGED)
    call.turn("hello", "Hello.")
    call.caller_says(_QUESTION, sound="soft")
    assert call.caller_is_speaking
    call.silence(1.0)
    assert call.asked[-1] == UserText(_QUESTION)


def test_a_turn_may_begin_softly() -> None:
    call = Call(audio=_JUDGED)
    call.turn("hello", "Hello.")
    for pcm in call.record("she", seconds=0.2, sound="far"):
        call.frame(SPEECH, pcm)
    began = call._audio * FRAME - 0.2
    call.caller_says("is here")
    started = call.last("input_audio_buffer.speech_started")["audio_start_ms"] / 1000
    assert started == pytest.approx(began - 0.3, abs=FRAME)
    call.silence(1.0)
    assert call.asked[-1] == UserText("she is here")


def test_a_caller_who_has_moved_away_from_the_telephone_is_heard_after_a_while() -> None:
    """Nobody may be shut out of their own call: after 15 s without the caller their level counts no more."""
    call = Call(audio=_JUDGED)
    call.turn("hello", "Hello.")
    call.caller_says("can you hear me", sound="far")
    call.silence(1.0)
    assert len(call.requests) == 1
    call.silence(13.0)
    call.caller_says("can you hear me now", sound="far")
    call.silence(1.0)
    assert call.asked[-1] == UserText("can you hear me now")
    call.bot_says("Yes.")
    call.bot_finishes()
    call.silence(1.0)
    call.caller_says("good", sound="far")  # from now on, that is their level
    call.silence(1.0)
    assert call.asked[-1] == UserText("good")


def test_what_the_assistant_says_meanwhile_does_not_make_that_longer() -> None:
    call = Call(audio=server_vad(idle_timeout_ms=5000, x_eagerness="auto"))
    call.turn("hello", "Hello.")
    for _ in range(2):
        call.room_talks(5.5)
        call.bot_says("Are you still there?", seconds=1.5)
        call.bot_finishes()
        call.silence(2.0)
    call.room_talks(3.5)
    call.caller_says("yes I am", sound="far")
    assert call.caller_is_speaking


def test_a_caller_who_speaks_up_again_is_no_longer_confused_with_what_is_far() -> None:
    call = Call(audio=_JUDGED)
    call.turn("hello", "Hello.")
    call.silence(15.0)
    call.caller_says("and now the weather", sound="far")  # taken for the caller, and answered
    call.silence(2.0)
    call.bot_says("It is fine.")
    call.bot_finishes()
    call.silence(2.0)
    call.turn(_QUESTION, "Paris.")
    call.room_talks(3.0)
    assert not call.caller_is_speaking
    assert len(call.requests) == 3


def test_silence_ends_a_turn_as_ever_where_a_voice_is_far() -> None:
    call = Call(audio=_JUDGED)
    call.caller_says(_QUESTION)
    call.room_talks(0.3)
    seconds = 0.0
    while call.caller_is_speaking:
        call.frame(SILENCE)
        seconds += FRAME
    assert seconds == pytest.approx(0.35, abs=2 * FRAME)


def test_the_hosted_rule_of_silence_knows_no_levels() -> None:
    call = Call(audio=server_vad())
    call.turn("hello", "Hello.")
    call.caller_says("can you hear me", sound="far")
    call.silence(1.0)
    assert call.asked[-1] == UserText("can you hear me")


def test_what_was_far_in_a_turn_hides_nothing_of_the_next_where_silence_alone_decides() -> None:
    call = Call(audio={"input": {"turn_detection": {"type": "semantic_vad"}}})
    call.caller_says("yes", 0.15)
    call.caller_says("no", 0.05, sound="far")
    call.client_sends("session.update", session={"audio": {"input": {"turn_detection": {"type": "server_vad"}}}})
    call.silence(2.0)
    call.caller_says("are you still there")
    call.silence(1.0)
    assert call.asked[-1] == UserText("are you still there")
