"""Answers that are heard to their end whatever the caller says, and what becomes of that."""

from server.llm.interface import UserText
from tests.support.call import Call, server_vad
from tests.support.story import STORY, STORY_SECONDS, listening, speaks


def test_an_uninterruptible_answer_is_heard_to_its_end_and_then_the_caller_is_answered() -> None:
    # rapidaai/voice-ai#280: a greeting that is not to be interrupted stops. livekit/agents#850: stuck after one.
    call = Call()
    call.client_sends("response.create", response={"x_interruptible": False})
    notice = "This call is recorded for training and quality purposes, as the law says."
    call.bot_says(notice, seconds=5.0)
    call.silence(1.5)
    call.caller_says("yes yes I know all that", seconds=1.0)
    call.silence(1.0)
    assert not call.all_of("input_audio_buffer.speech_started")  # clients drop their audio when they are told
    call.bot_finishes()
    call.silence(1.0)
    assert speaks(call) or call.conversation.playback.ahead(call.now) > 0
    assert not call.all_of("input_audio_buffer.speech_started")
    call.silence(1.0)
    assert call.all_of("input_audio_buffer.committed")
    assert call.heard == notice
    assert call.asked[-1] == UserText("yes yes I know all that")


def test_what_the_caller_begins_during_an_uninterruptible_answer_and_ends_after_it_is_one_turn() -> None:
    call = Call(x_interruptible=False)
    call.client_sends("response.create")
    call.bot_says("This call is recorded.", seconds=3.0)
    call.bot_finishes()
    call.silence(2.0)
    call.caller_says("I do not want to be recorded by anybody", seconds=2.5)
    call.silence(1.0)
    assert call.heard == "This call is recorded."
    assert call.asked[-1] == UserText("I do not want to be recorded by anybody")


def test_speech_before_an_uninterruptible_answer_is_heard_does_not_stop_it() -> None:
    call = Call(x_interruptible=False)
    call.client_sends("response.create")
    call.caller_says("hello is anybody there", seconds=0.8)
    assert call.all_of("response.done") == []
    call.bot_says("This call is recorded.", seconds=3.0)
    call.silence(1.0)
    call.bot_finishes()
    assert call.heard == "This call is recorded."
    assert call.asked[-1] == UserText("hello is anybody there")


def test_the_answer_after_an_uninterruptible_one_is_interrupted_as_ever() -> None:
    call = Call()
    call.client_sends("response.create", response={"x_interruptible": False})
    call.bot_says("This call is recorded.", seconds=2.0)
    call.bot_finishes()
    call.silence(3.0)
    call.caller_says("tell me a story")
    call.silence(1.0)
    call.bot_says(STORY, seconds=STORY_SECONDS)
    call.silence(1.5)
    call.caller_says("stop it", seconds=0.5)
    assert not speaks(call)


def test_a_session_without_interruptions_hears_every_turn() -> None:
    # livekit/agents#2368: after the first answer nobody is heard any more
    call = Call(x_interruptible=False)
    for words in ("one", "two", "three"):
        call.turn(words, f"You said {words}.")
        call.silence(0.5)
        assert call.history[-2:] == [("user", words), ("assistant", f"You said {words}.")]


def test_whoever_speaks_twice_into_an_uninterruptible_answer_is_answered_once_to_both() -> None:
    # livekit/agents#4316: the second time is an error. #824: answers to what was said long ago queue up.
    call = Call()
    call.client_sends("response.create", response={"x_interruptible": False})
    call.bot_says("This call is recorded for training and quality purposes, as the law says.", seconds=6.0)
    call.bot_finishes()
    call.silence(1.0)
    for words in ("yes yes", "I know all that"):
        call.caller_says(words, seconds=0.8)
        call.silence(1.0)
    call.silence(4.0)
    assert len(call.requests) == 2
    assert call.asked[-2:] == [UserText("yes yes"), UserText("I know all that")]


def test_with_interruption_off_what_the_caller_says_is_announced_at_once() -> None:
    call = listening(audio=server_vad(interrupt_response=False))
    call.caller_says("mhm", seconds=0.3)
    assert call.caller_is_speaking
    assert speaks(call)
    assert call.judged == []
