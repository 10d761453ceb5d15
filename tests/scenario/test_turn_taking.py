"""Turns: when they start, pause and end, and the settings by which they do."""

import pytest

from server.conversation import commands as c
from server.conversation import events as e
from server.llm.interface import AssistantText, UserText
from tests.support.call import FADING, FRAME, SPEECH, TRANSCRIBED, Call, server_vad


def test_a_turn_is_heard_committed_and_answered() -> None:
    call = Call(audio=TRANSCRIBED)
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
    [ended] = call.commands(c.TurnEnded)
    assert ended.silence == pytest.approx(0.5, abs=FRAME)


def test_a_monologue_is_not_recognised_anew_at_every_pause() -> None:
    call = Call()
    call.caller_says("once upon a time", seconds=16.0)
    call.silence(0.3)
    assert not call.commands(c.Transcribe)
    call.silence(0.5)
    assert len(call.commands(c.Transcribe)) == 1
    assert call.asked == [UserText("once upon a time")]


def test_words_known_by_the_end_of_the_turn_cost_no_further_wait() -> None:
    call = Call(recognition_seconds=0.1)  # begun at the pause of 0.2 s, there before the turn's end at 0.5 s
    call.caller_says("quick question")
    call.silence(0.45)
    assert not call.requests
    call.silence(0.1)
    assert call.asked == [UserText("quick question")]


def test_the_model_waits_for_slow_words() -> None:
    # pipecat#4279: a turn whose words come after its end is skipped
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
    assert len(call.commands(c.Transcribe)) == 3
    assert len(call.commands(c.StopTranscribing)) == 2


def test_words_recognised_before_the_caller_went_on_are_stale() -> None:
    call = Call(recognition_seconds=2.0)
    call.caller_says("send it to", seconds=0.5)
    call.silence(0.4)
    [first] = call.commands(c.Transcribe)
    stale = e.Transcribed(first.item_id, 0, "send it to", 0.5)
    call.caller_says("my office", seconds=0.5)
    assert call.conversation.transcribed(first.attempt, stale, call.now) == []
    call.silence(0.6)
    assert call.all_of("input_audio_buffer.committed")
    assert call.conversation.transcribed(first.attempt, stale, call.now) == []
    call.silence(2.0)
    assert call.asked == [UserText("send it to my office")]


def test_a_click_is_no_speech() -> None:
    call = Call()
    call.frame(SPEECH)
    call.silence(1.0)
    assert call.events == []


def test_a_fading_voice_does_not_flutter() -> None:
    call = Call(audio=server_vad(silence_duration_ms=100))
    call.caller_says("it fades", seconds=0.3)
    for pcm in call.record("", seconds=0.64):
        call.frame(FADING, pcm)
    assert call.events == ["input_audio_buffer.speech_started"]
    call.silence(0.2)
    assert "input_audio_buffer.speech_stopped" in call.events


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


# --- first and short words


def test_who_speaks_as_the_line_opens_is_heard_from_the_first_word() -> None:
    # livekit/agents#5932, #3161, pipecat#984: the first word is lost
    call = Call()
    call.caller_says("Peter is my name")
    call.silence(1.0)
    assert call.last("input_audio_buffer.speech_started")["audio_start_ms"] == 0
    assert call.asked == [UserText("Peter is my name")]


@pytest.mark.parametrize("turn_detection", ["server_vad", "semantic_vad"])
@pytest.mark.parametrize("after_the_end", [0.03, 0.3, 1.0])
def test_a_short_word_right_after_the_answer_is_heard(turn_detection: str, after_the_end: float) -> None:
    # googleapis/python-genai#2903: "yes" is swallowed, and the caller thinks that the line is dead
    call = Call(audio={"input": {"turn_detection": {"type": turn_detection}}})
    call.turn("i need a table for two", "Shall I book it?")
    call.silence(after_the_end)
    call.caller_says("yes", seconds=0.2)
    call.silence(1.0)
    assert call.asked[-1] == UserText("yes")


@pytest.mark.parametrize("says_nothing", ["finishes", "fails"])
def test_an_answer_of_nothing_is_not_the_end_of_the_call(says_nothing: str) -> None:
    # livekit/agents#865: the model says nothing, and the bot is stuck
    call = Call()
    call.caller_says("hello")
    call.silence(1.0)
    if says_nothing == "finishes":
        call.bot_finishes()
    else:
        call.bot_fails()
    call.silence(3.0)
    assert len(call.requests) == 1
    call.turn("are you there", "Yes.")
    assert call.history == [("user", "hello"), ("user", "are you there"), ("assistant", "Yes.")]
