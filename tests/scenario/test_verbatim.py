"""Words that an application has the assistant say as they stand, such as a greeting or a legal notice."""

from typing import Any

import pytest

from server.conversation import commands as c
from server.conversation.errors import ResponseActive
from server.limits import LimitExceeded, Limits
from server.llm.interface import AssistantText, UserText
from tests.support.call import Call
from tests.support.story import speaks

_NOTICE = "This call is recorded."


def say(call: Call, text: str = _NOTICE, interruptible: bool = True) -> None:
    call._perform(call.conversation.say(text, interruptible=interruptible, now=call.now))


def test_they_are_said_without_a_model_and_kept_in_history_as_an_answer() -> None:
    call = Call()
    say(call)
    assert (call.said, call.requests) == ([_NOTICE], [])
    call.bot_says(_NOTICE)
    call.bot_finishes()
    assert call.last("response.done")["response"]["status"] == "completed"
    call.silence(2.0)
    call.turn("by whom", "By us.")
    assert call.asked == [AssistantText(_NOTICE), UserText("by whom")]


def test_history_keeps_what_was_heard_of_them() -> None:
    call = Call()
    say(call)
    call.bot_says("This call is recorded for training.", seconds=3.5)
    call.bot_finishes()
    call.silence(1.0)
    call.caller_says("stop stop")
    assert not speaks(call)
    assert _NOTICE.startswith(call.heard)


def test_they_may_be_heard_to_their_end_whatever_the_caller_says() -> None:
    call = Call()
    say(call, interruptible=False)
    call.bot_says(_NOTICE, seconds=3.0)
    call.bot_finishes()
    call.silence(0.5)
    call.caller_says("stop stop")
    call.silence(2.0)
    assert call.heard == _NOTICE
    assert call.asked[-1] == UserText("stop stop")


def test_they_are_spoken_in_a_call_whose_answers_are_text() -> None:
    call = Call(output_modalities=["text"])
    say(call)
    [command] = call.commands(c.Say)
    assert command.response.config.modality == "audio"


def test_they_wait_for_the_end_of_the_callers_turn_which_is_answered_after_them() -> None:
    call = Call()
    call.caller_says("what is")
    say(call)
    assert call.said == []
    call.caller_says("the time")
    call.silence(1.0)
    assert (call.said, call.requests) == ([_NOTICE], [])
    call.bot_says(_NOTICE)
    call.bot_finishes()
    assert UserText("what is the time") in call.asked


def test_they_take_the_place_of_a_filler() -> None:
    call = Call(x_tool_filler={"text": "One moment.", "after_ms": 500}, tools=[{"type": "function", "name": "look"}])
    call.caller_says("look")
    call.silence(1.0)
    call.bot_calls("look", "{}")
    call.bot_finishes("tool_calls")
    call.silence(0.6)
    say(call)
    assert call.said == ["One moment.", _NOTICE]
    assert len(call.under_way) == 1


@pytest.mark.parametrize("verbatim", [True, False])
def test_one_answer_is_given_at_a_time(verbatim: bool) -> None:
    call = Call()
    if verbatim:
        say(call)
    else:
        call.client_sends("response.create")
    with pytest.raises(ResponseActive):
        say(call)
    call.client_sends("response.create")
    assert call.errors == ["conversation_already_has_active_response"]


def test_they_count_as_text_of_the_conversation() -> None:
    call = Call(limits=Limits(max_conversation_bytes=65_536))
    with pytest.raises(LimitExceeded):
        say(call, "x" * 70_000)


def ask_to_say(call: Call, **response: Any) -> None:
    call.client_sends("response.create", response={"x_say": _NOTICE, **response})


def test_a_client_asks_for_them_in_response_create() -> None:
    call = Call()
    ask_to_say(call, x_interruptible=False, metadata={"topic": "law"}, output_modalities=["text"])
    created = call.last("response.created")["response"]
    assert (created["metadata"], created["output_modalities"]) == ({"topic": "law"}, ["audio"])
    assert (call.said, call.requests) == ([_NOTICE], [])
    call.bot_says(_NOTICE, seconds=3.0)
    call.bot_finishes()
    call.silence(0.5)
    call.caller_says("stop stop")
    call.silence(2.5)
    assert call.heard == _NOTICE


def test_beside_the_conversation_they_leave_no_trace_in_it() -> None:
    call = Call(limits=Limits(max_responses_beside=1))
    ask_to_say(call, conversation="none")
    ask_to_say(call, conversation="none")
    assert call.errors == ["limit_exceeded"]
    call.bot_says(_NOTICE)
    call.bot_finishes()
    assert call.history == []


@pytest.mark.parametrize("text", ["", " ", "x" * 5000])
def test_there_have_to_be_words_and_not_too_many(text: str) -> None:
    call = Call()
    call.client_sends("response.create", response={"x_say": text})
    [error] = call.all_of("error")
    assert (error["error"]["code"], error["error"]["param"]) == ("invalid_value", "response.x_say")
