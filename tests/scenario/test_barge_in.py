"""The caller speaks while the assistant does, or before it could."""

import pytest

from server.conversation import commands as c
from server.llm.interface import AssistantText, ToolCall, ToolResult, UserText
from tests.support.call import Call, server_vad


def test_barge_in_cancels_the_answer_and_history_keeps_what_was_heard() -> None:
    # pipecat#5426, #4996, #5605: history is not what was heard
    call = Call()
    call.caller_says("tell me about the museum")
    call.silence(1.0)
    call.bot_says("The museum opens at nine.", seconds=2.0)
    call.bot_says("It closes at five, and on Mondays it stays shut.", seconds=4.0)
    call.silence(1.7)
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
    assert call.commands(c.StopGenerating) == [c.StopGenerating(done["id"], may_go_on=True)]
    call.silence(1.0)
    assert call.asked == [
        UserText("tell me about the museum"),
        AssistantText("The museum opens at nine."),
        UserText("and the shop"),
    ]


def test_a_clause_whose_last_audio_was_sent_as_the_caller_interrupted_counts_as_far_as_it_was_heard() -> None:
    call = Call()
    call.caller_says("hello")
    call.silence(1.0)
    call.bot_says("A rather long answer to that.", seconds=3.0)
    response = call.last("response.created")["response"]["id"]
    call.silence(0.5)
    call.caller_says("and the shop")
    heard = call.heard
    call.conversation.end_clause(response)
    assert call.heard == heard != "A rather long answer to that."


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
    call.silence(0.8)
    call.caller_says("hello hello", seconds=0.5)
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
    # livekit/agents#3418: "My name is John", "Doe", and then silence. #1303: a pause, and no answer at all.
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


def test_a_caller_who_interrupts_while_a_function_runs_is_answered_and_its_result_is_kept() -> None:
    # livekit/agents#4413: stuck for good. #3702: the result is lost, and the order is made a second time.
    call = Call()
    call.caller_says("a table for six please")
    call.silence(1.0)
    call.bot_says("One moment, I am booking it.", seconds=2.0)
    call.bot_calls("book", "{}")
    call.bot_finishes("tool_calls")
    call.silence(0.5)
    call.caller_says("and a high chair", seconds=0.8)
    call.client_sends(
        "conversation.item.create", item={"type": "function_call_output", "call_id": "call_1", "output": "booked"}
    )
    call.silence(1.0)
    assert len(call.requests) == 2
    assert ToolCall("call_1", "book", "{}") in call.asked
    assert ToolResult("call_1", "booked") in call.asked
    assert UserText("and a high chair") in call.asked
    call.bot_says("Six, and a high chair.")
    call.bot_finishes()
    call.silence(5.0)
    assert len(call.requests) == 2


def test_with_interruption_off_the_answer_goes_on_and_the_caller_is_answered_after_it() -> None:
    # livekit/agents#2368: with interruptions off, nobody is heard after the first answer
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


@pytest.mark.parametrize("ends", ["response.cancel", "output_audio_buffer.clear"])
def test_what_waits_for_an_answer_gets_it_when_the_client_ends_the_one_before(ends: str) -> None:
    call = Call(audio=server_vad(interrupt_response=False))
    call.caller_says("question one")
    call.silence(1.0)
    call.caller_says("question two")
    call.silence(1.0)
    call.client_sends(ends)
    assert [event["response"]["status"] for event in call.all_of("response.done")] == ["cancelled"]
    assert call.asked == [UserText("question one"), UserText("question two")]


def test_with_answers_off_the_client_asks_by_itself() -> None:
    call = Call(audio=server_vad(create_response=False))
    call.caller_says("just listen")
    call.silence(1.0)
    assert not call.requests
    call.client_sends("response.create")
    assert call.asked == [UserText("just listen")]


def test_speech_into_an_answer_leaves_an_uninterruptible_one_that_follows_it() -> None:
    call = Call()
    call.client_sends("response.create")
    call.bot_says("Hello there, how are you today?")
    call.bot_finishes()
    call.client_sends("response.create", response={"x_interruptible": False})
    notice = call.client.active
    call.silence(0.5)
    call.caller_says("stop")
    assert call.heard == "Hello there,"
    assert call.client.active == notice
