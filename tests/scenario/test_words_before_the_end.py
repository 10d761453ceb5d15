"""Words are asked for while the caller speaks, at each moment of quiet, so that an answer can begin before the end."""

from typing import Any

from server.conversation import commands as c
from server.conversation import events as e
from server.llm.interface import UserText
from tests.support.call import FADING, FRAME, Call

SEMANTIC: dict[str, Any] = {"type": "semantic_vad"}
DELTA = "conversation.item.input_audio_transcription.delta"
COMPLETED = "conversation.item.input_audio_transcription.completed"


def call_with(turn_detection: Any = None) -> Call:
    """A call whose recogniser takes two frames, and whose client reads what the caller says."""
    audio = {"transcription": {"model": "gpt-4o-transcribe"}, "turn_detection": turn_detection or SEMANTIC}
    return Call(recognition_seconds=1.5 * FRAME, audio={"input": audio})


def quiet_between_words(call: Call, frames: int = 5) -> None:
    """The level falls; the voice detector, which is slower, still hears a voice."""
    for _ in range(frames):
        call.frame(FADING)


def test_at_each_moment_of_quiet_the_words_so_far_are_asked_for() -> None:
    call = call_with()
    call.caller_says("my name")
    quiet_between_words(call)
    call.caller_says("is Peter")
    quiet_between_words(call)
    assert [glimpse.attempt for glimpse in call.commands(c.Glimpse)] == [1, 2]
    assert call.commands(c.Transcribe) == []


def test_what_a_sure_glance_found_at_the_end_is_not_recognised_once_more() -> None:
    call = call_with()
    call.glimpses_are_sure = True
    call.caller_says("my name is Peter")
    quiet_between_words(call)
    call.silence(1.0)
    assert call.last(COMPLETED)["transcript"] == "my name is Peter"
    assert call.asked == [UserText("my name is Peter")]
    assert call.commands(c.Transcribe) == []


def test_what_was_said_since_a_sure_glance_is_recognised() -> None:
    call = call_with()
    call.glimpses_are_sure = True
    call.caller_says("my name")
    quiet_between_words(call, 3)
    call.caller_says("is Peter", 0.3)
    call.silence(1.0)
    assert call.last(COMPLETED)["transcript"] == "my name is Peter"
    assert len(call.commands(c.Transcribe)) == 1


# --- a pause that begins while a glance at all that was said is under way


def paused_while_looking(sure: bool) -> Call:
    """The recogniser takes six frames, and has been asked three frames before the pause."""
    call = Call(recognition_seconds=5.5 * FRAME, audio={"input": {"turn_detection": SEMANTIC}})
    call.glimpses_are_sure = sure
    call.caller_says("my name is Peter")
    quiet_between_words(call, 3)
    call.silence(2 * FRAME)
    assert len(call.commands(c.Glimpse)) == 1
    assert len(call.commands(c.JudgeTurn)) == 1
    assert call.commands(c.Transcribe) == [], "the same is not asked twice"
    return call


def test_words_that_are_on_their_way_at_a_pause_are_waited_for() -> None:
    call = paused_while_looking(sure=True)
    call.silence(1.0)
    assert call.asked == [UserText("my name is Peter")]
    assert call.commands(c.Transcribe) == []


def test_words_that_come_in_a_pause_and_are_not_sure_are_found_the_thorough_way() -> None:
    call = paused_while_looking(sure=False)
    call.silence(1.0)
    assert call.asked == [UserText("my name is Peter")]
    assert [question.thorough for question in call.commands(c.Transcribe)] == [True]


def test_words_that_do_not_come_are_asked_for_at_the_end() -> None:
    call = paused_while_looking(sure=True)
    call.recognition_seconds = 0.1
    call.forget_what_was_asked()
    call.silence(1.5)
    assert call.asked == [UserText("my name is Peter")]
    assert [question.thorough for question in call.commands(c.Transcribe)] == [False]


def test_a_recogniser_that_was_too_busy_for_a_glance_is_asked_at_once() -> None:
    call = paused_while_looking(sure=True)
    call.recognition_fails = True
    call.silence(4 * FRAME)
    assert len(call.commands(c.Transcribe)) == 1
    call.recognition_fails = False
    call.silence(1.0)
    assert call.asked == [UserText("my name is Peter")]


def test_who_goes_on_while_words_are_on_their_way_is_recognised_whole() -> None:
    call = paused_while_looking(sure=True)
    call.caller_says("Miller")
    assert call.commands(c.Transcribe) == []
    call.silence(1.5)
    assert call.asked == [UserText("my name is Peter Miller")]


def test_who_goes_on_very_softly_while_words_are_on_their_way_is_recognised_whole() -> None:
    audio = {"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 2000}}}
    call = Call(recognition_seconds=1.0, type="transcription", audio=audio)
    call.caller_says("my name is Peter")
    call.silence(0.3)
    assert len(call.commands(c.Glimpse)) == 1
    call.caller_says("Miller", 5 * FRAME, sound="far")
    call.silence(0.3)
    assert len(call.commands(c.Glimpse)) == 1, "it never sounded loud enough for another quiet to begin"
    assert [question.thorough for question in call.commands(c.Transcribe)] == [False], "not waited for in vain"


def test_what_two_passes_agree_on_is_told_while_the_caller_speaks() -> None:
    call = call_with()
    call.caller_says("my name")
    quiet_between_words(call)
    assert call.all_of(DELTA) == []
    call.caller_says("is Peter")
    quiet_between_words(call)
    assert call.caller_is_speaking
    assert [event["delta"] for event in call.all_of(DELTA)] == ["my name"]
    call.silence(1.0)
    assert [event["delta"] for event in call.all_of(DELTA)] == ["my name", " is Peter"]
    assert call.last(COMPLETED)["transcript"] == "my name is Peter"


def test_a_client_that_reads_no_words_is_told_none() -> None:
    call = Call(audio={"input": {"turn_detection": SEMANTIC}})
    for _ in range(2):
        call.caller_says("hello")
        quiet_between_words(call, 8)
    assert call.commands(e.WordsHeard) != []
    assert call.all_of(DELTA) == []


def test_the_model_is_asked_before_a_voice_detector_hears_silence() -> None:
    call = call_with()
    call.caller_says("what is the capital of France")
    quiet_between_words(call)
    [ahead] = call.commands(c.Speculate)
    assert list(ahead.request.messages) == [UserText("what is the capital of France")]
    call.silence(1.0)
    assert call.foreseen
    assert len(call.commands(c.Speculate)) == 1


def test_who_goes_on_before_the_words_are_known_is_not_answered_ahead() -> None:
    call = call_with()
    call.caller_says("what is")
    quiet_between_words(call, 3)
    call.caller_says("the capital")
    assert len(call.commands(c.Glimpse)) == 1
    assert call.commands(c.Speculate) == []


def test_who_goes_on_after_the_model_was_asked_ends_that() -> None:
    call = call_with()
    call.caller_says("what is the capital of France")
    quiet_between_words(call)
    call.caller_says("and of Spain")
    assert call.commands(c.WentOn) != []
    assert call.speculation is None
    call.silence(1.0)
    assert call.foreseen
    assert call.asked == [UserText("what is the capital of France and of Spain")]


def test_the_same_words_are_answered_ahead_again_after_a_sound_without_any() -> None:
    call = call_with()
    call.caller_says("what is the capital of France")
    quiet_between_words(call)
    call.caller_makes_noise(2 * FRAME)
    quiet_between_words(call)
    call.silence(1.0)
    assert len(call.commands(c.Speculate)) == 2
    assert call.foreseen


def test_a_sentence_left_open_is_not_answered_ahead() -> None:
    call = call_with()
    call.caller_says("i would like to")
    quiet_between_words(call)
    assert len(call.commands(c.Glimpse)) == 1
    assert call.commands(c.Speculate) == []


def test_in_one_turn_the_model_is_asked_ahead_a_few_times_and_once_more_at_a_pause() -> None:
    call = call_with()
    for word in ["one", "day", "there", "was", "a", "quick", "brown", "fox", "here"]:
        call.caller_says(word, 0.3)
        quiet_between_words(call)
    early = len(call.commands(c.Speculate))
    call.silence(2.0)
    assert early == 4
    assert len(call.commands(c.Speculate)) == 5
    assert call.foreseen


def test_where_turns_end_by_silence_no_words_are_asked_for_early() -> None:
    call = call_with({"type": "server_vad"})
    call.caller_says("hello")
    quiet_between_words(call)
    assert call.commands(c.Glimpse) == []


def test_what_may_be_no_turn_is_not_listened_to_ahead() -> None:
    call = call_with()
    call.turn("Tell me a story.", "Once upon a time.")
    call.caller_says("Go on.")
    call.silence(1.0)
    call.bot_says("There was a farmer who had three sons.", seconds=5.0)
    call.silence(1.0)
    asked = len(call.commands(c.Glimpse))
    call.caller_says("mhm", 0.3)
    quiet_between_words(call)
    assert len(call.commands(c.Glimpse)) == asked


def test_words_that_come_after_the_end_of_their_turn_are_dropped() -> None:
    call = call_with()
    call.caller_says("hello there")
    quiet_between_words(call, 3)
    [glimpse] = call.commands(c.Glimpse)
    call.silence(1.0)
    assert call.conversation.glimpsed(glimpse.item_id, glimpse.attempt, "hello there", sure=False) == []


def test_a_monologue_is_not_listened_to_over_and_over_again() -> None:
    call = call_with()
    call.caller_says("and so on", 16.0)
    quiet_between_words(call)
    assert call.commands(c.Glimpse) == []
