"""Sounds that are no words, words that are lost, turns that are taken back."""

from server.conversation import commands as c
from server.llm.interface import UserText
from tests.support.call import TRANSCRIBED, Call, server_vad


def test_noise_gets_no_answer() -> None:
    # WhisperLive#185: words invented on silence are dropped by recognition, and then nothing is left to answer
    call = Call(audio=TRANSCRIBED)
    call.caller_makes_noise()
    call.silence(1.5)
    assert call.last("conversation.item.input_audio_transcription.completed")["transcript"] == ""
    assert not call.requests
    call.caller_says("hello")
    call.silence(1.0)
    assert call.asked == [UserText("hello")]


def test_noise_before_the_answer_is_heard_does_not_lose_the_answer() -> None:
    # livekit/agents#1229: a cough after the question, and it is never answered
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
    assert len(call.commands(c.StopTranscribing)) == 1
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
    call = Call(audio=TRANSCRIBED)
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
