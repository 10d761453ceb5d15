"""Who speaks when: turns, barge-in, noise, pauses, silence."""

from typing import Any

import pytest

from server.conversation import events as e
from server.llm.interface import AssistantText, SystemText, UserText
from tests.support.call import FADING, FRAME, SPEECH, Call

_TRANSCRIBED = {"transcription": {"model": "gpt-4o-transcribe"}}


def server_vad(**settings: Any) -> dict[str, Any]:
    return {"input": {"turn_detection": {"type": "server_vad", **settings}}}


def test_a_turn_is_heard_committed_and_answered() -> None:
    call = Call(audio={"input": _TRANSCRIBED})
    call.caller_says("when do you open", seconds=1.2)
    call.silence(1.0)
    assert call.events == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.completed",
        "response.created",
    ]
    assert call.asked == [UserText("when do you open")]
    call.bot_says("At nine.")
    call.bot_finishes()
    call.silence(1.0)
    assert call.history == [("user", "when do you open"), ("assistant", "At nine.")]


def test_each_turn_is_asked_with_all_that_was_said_before() -> None:
    call = Call()
    call.turn("my name is Ada", "Hello Ada.")
    call.caller_says("what is my name")
    call.silence(1.0)
    assert call.asked == [UserText("my name is Ada"), AssistantText("Hello Ada."), UserText("what is my name")]


def test_speech_is_timed_on_the_callers_own_audio_with_padding_before_and_silence_after() -> None:
    call = Call(audio=server_vad(prefix_padding_ms=300, silence_duration_ms=500))
    call.silence(100 * FRAME)
    call.caller_says("hello", seconds=50 * FRAME)
    call.silence(1.0)
    started, stopped = call.last("input_audio_buffer.speech_started"), call.last("input_audio_buffer.speech_stopped")
    assert started["audio_start_ms"] == round(100 * FRAME * 1000) - 300
    assert stopped["audio_end_ms"] == pytest.approx(150 * FRAME * 1000 + 500, abs=FRAME * 1000)
    assert started["item_id"] == stopped["item_id"] == call.last("input_audio_buffer.committed")["item_id"]
    [ended] = call.commands(e.TurnEnded)
    assert ended.silence == pytest.approx(0.5, abs=FRAME)


def test_words_known_by_the_end_of_the_turn_cost_no_further_wait() -> None:
    call = Call(recognition_seconds=0.1)  # begun at the pause of 0.2 s, there before the turn's end at 0.5 s
    call.caller_says("quick question")
    call.silence(0.45)
    assert not call.requests
    call.silence(0.1)
    assert call.asked == [UserText("quick question")]


def test_the_model_waits_for_slow_words() -> None:
    call = Call(recognition_seconds=2.0)
    call.caller_says("slow words")
    call.silence(1.0)
    assert "response.created" not in call.events
    call.silence(1.5)
    assert call.asked == [UserText("slow words")]


def test_a_silence_shorter_than_a_pause_still_gets_its_words() -> None:
    call = Call(audio=server_vad(silence_duration_ms=100))
    call.caller_says("snappy")
    call.silence(0.3)
    assert call.asked == [UserText("snappy")]


def test_a_pause_inside_a_sentence_does_not_end_the_turn() -> None:
    # livekit/agents#3701, unmute#130: cut off in the middle of a spelled number
    call = Call(recognition_seconds=0.05)
    for digits in ("four nine", "three", "seven seven"):
        call.caller_says(digits, seconds=0.5)
        call.silence(0.4)
    assert call.all_of("input_audio_buffer.committed") == []
    assert call.all_of("response.created") == []
    call.silence(0.5)
    assert call.asked == [UserText("four nine three seven seven")]
    assert len(call.commands(e.Transcribe)) == 3
    assert len(call.commands(e.StopTranscribing)) == 2


def test_words_recognised_before_the_caller_went_on_are_stale() -> None:
    call = Call(recognition_seconds=0.1)
    call.caller_says("send it to", seconds=0.5)
    call.silence(0.4)  # those words are known by now
    stale = call.commands(e.Transcribe)[0]
    call.caller_says("my office", seconds=0.5)
    outputs = call.conversation.transcribed(stale.attempt, e.Transcribed(stale.item_id, 0, "send it to", 0.5), call.now)
    assert outputs == []
    call.silence(1.0)
    assert call.asked == [UserText("send it to my office")]


def test_a_click_is_no_speech() -> None:
    call = Call()
    call.frame(SPEECH)
    call.silence(1.0)
    assert call.events == []


def test_a_fading_voice_does_not_flutter() -> None:
    call = Call(audio=server_vad(silence_duration_ms=100))
    call.caller_says("it fades", seconds=0.3)
    for _ in range(20):
        call.frame(FADING)
    assert call.events == ["input_audio_buffer.speech_started"]
    call.silence(0.2)
    assert "input_audio_buffer.speech_stopped" in call.events


# --- barge-in


def test_barge_in_cancels_the_answer_and_history_keeps_what_was_heard() -> None:
    # pipecat#5426, #4996, #5605: history is not what was heard
    call = Call()
    call.caller_says("tell me about the museum")
    call.silence(1.0)
    call.bot_says("The museum opens at nine.", seconds=2.0)
    call.bot_says("It closes at five, and on Mondays it stays shut.", seconds=4.0)
    call.silence(2.0)
    assert "response.done" not in call.events
    call.caller_says("and the shop", seconds=0.5)
    assert call.events == [
        "input_audio_buffer.speech_started",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
        "rate_limits.updated",
    ]
    done = call.last("response.done")["response"]
    assert (done["status"], done["status_details"]["reason"]) == ("cancelled", "turn_detected")
    assert done["output"][0]["status"] == "incomplete"
    assert call.heard == "The museum opens at nine."
    assert call.commands(e.StopGenerating) == [e.StopGenerating(done["id"])]
    call.silence(1.0)
    assert call.asked == [
        UserText("tell me about the museum"),
        AssistantText("The museum opens at nine."),
        UserText("and the shop"),
    ]


def test_after_an_interruption_the_next_turn_is_answered_as_ever() -> None:
    # livekit/agents#3418, #4413: stuck after an interruption
    call = Call()
    call.caller_says("one")
    call.silence(1.0)
    for word in ("two", "three", "four"):
        call.bot_says("A rather long answer to that.", seconds=3.0)
        call.silence(0.5)
        call.caller_says(word)
        call.silence(1.0)
        assert call.asked[-1] == UserText(word)
    call.bot_says("Done.")
    call.bot_finishes()
    assert [event["response"]["status"] for event in call.all_of("response.done")] == ["cancelled"] * 3 + ["completed"]


def test_an_answer_that_was_sent_but_is_still_being_played_is_interrupted_too() -> None:
    call = Call()
    call.caller_says("hello")
    call.silence(1.0)
    call.bot_says("Hello to you and welcome to the city library.", seconds=4.0)
    call.bot_finishes()
    call.silence(1.1)
    call.caller_says("yes hi", seconds=0.5)
    assert call.heard == "Hello to you"
    assert call.conversation.playback.ahead(call.now) == 0
    assert call.last("response.done")["response"]["status"] == "completed"


def test_what_is_left_of_a_cut_answer_is_not_cut_again() -> None:
    call = Call()
    call.caller_says("hello")
    call.silence(1.0)
    call.bot_says("Hello to you and welcome to the city library.", seconds=4.0)
    call.bot_finishes()
    call.silence(1.0)
    call.caller_says("wait")
    item_id = call.last("response.output_item.done")["item"]["id"]
    call.client_sends("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=2000)
    call.silence(1.0)
    call.bot_says("I wait.", seconds=2.0)
    call.silence(0.5)
    call.caller_says("go on")
    assert next(text for role, text in call.history if role == "assistant") == "Hello to you and"


def test_a_caller_who_goes_on_before_hearing_anything_gets_one_answer_to_all_of_it() -> None:
    call = Call()
    call.caller_says("I would like to know")
    call.silence(0.7)
    first = call.last("response.created")["response"]["id"]
    call.caller_says("whether you open on Sunday")
    assert call.last("response.done")["response"]["id"] == first
    call.silence(1.0)
    assert len(call.requests) == 2
    assert call.asked == [UserText("I would like to know"), UserText("whether you open on Sunday")]


def test_a_caller_who_goes_on_before_the_words_are_known_is_answered_once() -> None:
    call = Call(recognition_seconds=1.5)
    call.caller_says("the first half")
    call.silence(0.7)
    call.caller_says("the second half")
    call.silence(3.0)
    assert len(call.requests) == 1
    assert call.asked == [UserText("the first half"), UserText("the second half")]


def test_with_interruption_off_the_answer_goes_on_and_the_caller_is_answered_after_it() -> None:
    call = Call(audio=server_vad(interrupt_response=False))
    call.caller_says("question one")
    call.silence(1.0)
    call.bot_says("The long answer to question one.", seconds=3.0)
    call.caller_says("question two")
    call.silence(1.0)
    assert len(call.requests) == 1
    assert call.all_of("response.done") == []
    call.bot_finishes()
    assert call.heard == "The long answer to question one."
    assert call.asked == [
        UserText("question one"),
        AssistantText("The long answer to question one."),
        UserText("question two"),
    ]


def test_what_waits_for_an_answer_gets_it_when_the_client_cancels_the_one_before() -> None:
    call = Call(audio=server_vad(interrupt_response=False))
    call.caller_says("question one")
    call.silence(1.0)
    call.caller_says("question two")
    call.silence(1.0)
    call.client_sends("response.cancel")
    assert [event["response"]["status"] for event in call.all_of("response.done")] == ["cancelled"]
    assert call.asked == [UserText("question one"), UserText("question two")]


def test_with_answers_off_the_client_asks_by_itself() -> None:
    call = Call(audio=server_vad(create_response=False))
    call.caller_says("just listen")
    call.silence(1.0)
    assert not call.requests
    call.client_sends("response.create")
    assert call.asked == [UserText("just listen")]


# --- noise


def test_noise_gets_no_answer() -> None:
    # WhisperLive#185: words invented on silence are dropped by recognition, and then nothing is left to answer
    call = Call(audio={"input": _TRANSCRIBED})
    call.caller_makes_noise()
    call.silence(1.5)
    assert call.last("conversation.item.input_audio_transcription.completed")["transcript"] == ""
    assert not call.requests
    call.caller_says("hello")
    call.silence(1.0)
    assert call.asked == [UserText("hello")]


def test_noise_before_the_answer_is_heard_does_not_lose_the_answer() -> None:
    # pipecat#188, #1084; bolna#223: noise stops the bot. livekit/agents#4039, #1229: and it never resumes.
    call = Call()
    call.caller_says("what is the time")
    call.silence(0.7)
    assert len(call.requests) == 1
    call.caller_makes_noise()
    assert call.last("response.done")["response"]["status"] == "cancelled"
    call.silence(1.0)
    assert len(call.requests) == 2
    assert call.asked == [UserText("what is the time")]
    call.bot_says("Noon.")
    call.bot_finishes()
    call.silence(5.0)
    assert len(call.requests) == 2


def test_noise_before_an_answer_that_the_client_asked_for_does_not_lose_it() -> None:
    call = Call()
    call.client_sends("response.create", response={"instructions": "Greet the caller.", "metadata": {"greeting": "1"}})
    call.caller_makes_noise()
    call.silence(1.5)
    assert [request.instructions for request in call.requests] == ["Greet the caller."] * 2
    assert call.last("response.created")["response"]["metadata"] == {"greeting": "1"}


def test_an_interrupted_greeting_gives_way_to_what_the_caller_says() -> None:
    call = Call()
    call.client_sends("response.create", response={"instructions": "Greet the caller."})
    call.caller_says("is anyone there")
    call.silence(1.0)
    assert [request.instructions for request in call.requests] == ["Greet the caller.", "Be brief."]


def test_noise_after_a_heard_answer_was_cut_gets_no_answer() -> None:
    call = Call()
    call.caller_says("what is the time")
    call.silence(1.0)
    call.bot_says("It is a quarter past nine.")
    call.silence(0.5)
    call.caller_makes_noise()
    call.silence(1.5)
    assert len(call.requests) == 1
    assert call.heard == "It is a"


def test_noise_after_a_function_was_called_does_not_call_it_again() -> None:
    call = Call()
    call.caller_says("book it and tell me the price")
    call.silence(1.0)
    call.bot_calls("book", "{}", call_id="call_1")
    call.bot_calls("price", "{", call_id="call_2")  # the first call is told of by now, and may have been made
    call.caller_makes_noise()
    call.silence(1.5)
    assert len(call.requests) == 1


def test_noise_in_the_middle_of_a_function_call_does_not_lose_the_answer() -> None:
    call = Call()
    call.caller_says("book it")
    call.silence(1.0)
    call.bot_calls("book", '{"what"')
    call.caller_makes_noise()
    call.silence(1.5)
    assert len(call.requests) == 2


def test_with_answers_off_noise_asks_for_nothing() -> None:
    call = Call(audio=server_vad(create_response=False))
    call.client_sends("response.create")
    call.caller_makes_noise()
    call.silence(1.5)
    assert len(call.requests) == 1


def test_clearing_noise_by_hand_brings_the_answer_back() -> None:
    call = Call()
    call.caller_says("what is the time")
    call.silence(0.7)
    call.caller_makes_noise()
    call.client_sends("input_audio_buffer.clear")
    assert len(call.requests) == 2


def test_a_deleted_turn_wants_no_answer() -> None:
    call = Call(recognition_seconds=1.0)
    call.caller_says("forget this")
    call.silence(0.6)
    call.client_sends("conversation.item.delete", item_id=call.last("input_audio_buffer.committed")["item_id"])
    assert len(call.commands(e.StopTranscribing)) == 1
    call.silence(2.0)
    assert not call.requests
    assert call.history == []


def test_deleting_the_turn_that_holds_up_another_lets_that_be_answered() -> None:
    call = Call(recognition_seconds=1.0)
    call.client_adds("typed")
    call.caller_says("mumbled")
    call.silence(0.6)
    call.client_sends("response.create")
    assert not call.requests
    call.client_sends("conversation.item.delete", item_id=call.last("input_audio_buffer.committed")["item_id"])
    assert call.asked == [UserText("typed")]


def test_when_recognition_fails_the_client_is_told_and_the_call_goes_on() -> None:
    call = Call(audio={"input": _TRANSCRIBED})
    call.recognition_fails = True
    call.caller_says("lost words")
    call.silence(1.0)
    failed = call.last("conversation.item.input_audio_transcription.failed")
    assert failed["error"] == {
        "type": "transcription_error",
        "code": "unavailable",
        "message": "speech recognition does not answer",
    }
    call.recognition_fails = False
    call.caller_says("hello again")
    call.silence(1.0)
    assert call.asked == [UserText("hello again")]


# --- silence


def test_after_the_idle_timeout_the_assistant_asks_whether_anyone_is_there() -> None:
    call = Call(audio=server_vad(idle_timeout_ms=5000))
    call.turn("hello", "Hello.")
    call.silence(4.5)
    assert call.all_of("input_audio_buffer.timeout_triggered") == []
    _ = call.events
    call.silence(0.6)
    assert call.events == [
        "input_audio_buffer.timeout_triggered",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
    ]
    triggered = call.last("input_audio_buffer.timeout_triggered")
    assert triggered["audio_end_ms"] - triggered["audio_start_ms"] == 5000
    assert call.asked[:2] == [UserText("hello"), AssistantText("Hello.")]
    assert isinstance(call.asked[2], SystemText)


def test_the_idle_time_counts_from_the_end_of_playout() -> None:
    call = Call(audio=server_vad(idle_timeout_ms=1000))
    call.caller_says("hello")
    call.silence(0.7)
    call.bot_says("A long welcome.", seconds=4.0)
    call.bot_finishes()
    call.silence(4.9)
    assert call.all_of("input_audio_buffer.timeout_triggered") == []
    call.silence(0.2)
    assert len(call.all_of("input_audio_buffer.timeout_triggered")) == 1


def test_nobody_is_idle_while_the_caller_speaks_or_is_about_to_be_answered() -> None:
    call = Call(recognition_seconds=2.0, audio=server_vad(idle_timeout_ms=1000))
    call.caller_says("hello")
    call.silence(2.5)
    call.bot_says("Welcome to this long message.", seconds=3.0)
    call.silence(0.5)
    call.caller_says("let me tell you a long story about my cat", seconds=4.0)
    call.silence(1.8)  # its words are not known yet
    assert call.all_of("input_audio_buffer.timeout_triggered") == []
    call.silence(1.0)
    assert call.asked[-1] == UserText("let me tell you a long story about my cat")


def test_noise_only_puts_the_idle_timeout_off() -> None:
    call = Call(audio=server_vad(idle_timeout_ms=2000))
    call.turn("hello", "Hello.")
    call.silence(1.5)
    call.caller_makes_noise()
    call.silence(2.0)
    assert call.all_of("input_audio_buffer.timeout_triggered") == []
    call.silence(1.0)
    assert len(call.all_of("input_audio_buffer.timeout_triggered")) == 1


def test_a_caller_who_spoke_is_not_idle_even_if_the_client_has_not_answered() -> None:
    call = Call(audio=server_vad(idle_timeout_ms=1000, create_response=False))
    call.caller_says("hello")
    call.silence(1.0)
    call.client_sends("response.create")
    call.bot_says("Hi.")
    call.bot_finishes()
    call.caller_says("one more thing")
    call.silence(5.0)
    assert call.all_of("input_audio_buffer.timeout_triggered") == []


def test_nobody_is_idle_before_the_first_answer_or_without_a_timeout() -> None:
    call = Call(audio=server_vad(idle_timeout_ms=1000))
    call.silence(5.0)
    assert call.events == []
    call = Call()
    call.turn("hello", "Hello.")
    call.silence(60.0)
    assert call.all_of("input_audio_buffer.timeout_triggered") == []


# --- settings that change in the middle


def test_new_settings_that_leave_turn_detection_alone_leave_an_open_utterance_alone() -> None:
    call = Call()
    call.caller_says("while I am", seconds=0.5)
    call.client_sends("session.update", session={"type": "realtime", "instructions": "Be kind."})
    call.caller_says("speaking", seconds=0.5)
    call.silence(1.0)
    assert call.asked == [UserText("while I am speaking")]
    assert call.requests[-1].instructions == "Be kind."


def test_turn_detection_switched_off_in_the_middle_leaves_the_audio_to_be_committed_by_hand() -> None:
    call = Call()
    call.caller_says("push to", seconds=0.5)
    call.client_sends("session.update", session={"audio": {"input": {"turn_detection": None}}})
    call.caller_says("talk", seconds=0.5)
    call.silence(2.0)
    assert call.all_of("input_audio_buffer.committed") == []
    call.client_sends("input_audio_buffer.commit")
    call.silence(0.5)
    call.client_sends("response.create")
    assert call.asked == [UserText("push to talk")]


def test_a_low_threshold_still_lets_an_utterance_end() -> None:
    call = Call(audio=server_vad(threshold=0.1))
    call.caller_says("quiet line")
    for _ in range(30):
        call.frame(0.0)
    assert "input_audio_buffer.speech_stopped" in call.events


def test_an_answer_under_way_keeps_the_settings_that_it_began_with() -> None:
    call = Call()
    call.caller_says("hello")
    call.silence(1.0)
    call.client_sends("session.update", session={"output_modalities": ["text"]})
    call.bot_says("Hello.")
    call.bot_finishes()
    assert call.last("response.done")["response"]["output_modalities"] == ["audio"]


@pytest.mark.parametrize(("eagerness", "seconds"), [("high", 0.4), ("medium", 0.6), ("auto", 0.6), ("low", 1.2)])
def test_semantic_vad_waits_as_its_eagerness_says(eagerness: str, seconds: float) -> None:
    call = Call(audio={"input": {"turn_detection": {"type": "semantic_vad", "eagerness": eagerness}}})
    call.caller_says("hello")
    call.silence(seconds - 2 * FRAME)
    assert call.all_of("input_audio_buffer.speech_stopped") == []
    call.silence(3 * FRAME)
    assert len(call.all_of("input_audio_buffer.speech_stopped")) == 1


def test_frames_judged_after_a_commit_by_hand_start_no_utterance() -> None:
    call = Call()
    for _ in range(3):
        call.conversation.append_audio(bytes(1024))
    call.client_sends("input_audio_buffer.clear")
    for frame in range(3):  # the detector lags behind the client
        start = frame * FRAME
        assert call.conversation.voice_activity(start, start + FRAME, SPEECH, call.now) == []
    assert not call.conversation.voice_activity(3 * FRAME, 4 * FRAME, SPEECH, call.now)
    assert call.conversation.voice_activity(4 * FRAME, 5 * FRAME, SPEECH, call.now)
