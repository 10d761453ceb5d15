"""Functions that the application runs: no dead air meanwhile, and no result that is spoken over the caller."""

from typing import Any

import pytest

from server.llm.interface import AssistantText, ToolCall, ToolResult, UserText
from tests.support.call import Call, server_vad

_FILLER = {"text": "One moment.", "after_ms": 800}
_ASK = "how is the weather in Oslo"


def calling(*names: str, says: str = "", **session: Any) -> Call:
    """A call in which the model has just called functions, and perhaps said something before."""
    call = Call(**{"x_tool_filler": _FILLER, **session})
    call.caller_says(_ASK)
    call.silence(1.0)
    if not call.answering:
        call.client_sends("response.create")
    if says:
        call.bot_says(says)
    for name in names or ("weather",):
        call.bot_calls(name, "{}", call_id=f"call_{name}")
    call.bot_finishes("tool_calls")
    _ = call.events
    return call


def result(call: Call, name: str = "weather", output: str = "rain") -> None:
    item = {"type": "function_call_output", "call_id": f"call_{name}", "output": output}
    call.client_sends("conversation.item.create", item=item)


# --- a filler


def test_who_waits_for_a_function_hears_a_filler() -> None:
    """Dead air while functions run is what users of every framework complain of (reference: peers)."""
    call = calling()
    call.silence(0.75)
    assert call.said == []
    call.silence(0.1)
    assert call.said == ["One moment."]
    created = call.last("response.created")["response"]
    assert created["conversation_id"] == "conversation"
    assert len(call.requests) == 1, "no model is asked for it"
    call.bot_says("One moment.")
    call.bot_finishes()
    assert call.last("response.done")["response"]["status"] == "completed"
    assert call.history == [("user", _ASK), ("assistant", "One moment.")]
    result(call)
    call.client_sends("response.create")
    assert call.asked == [
        UserText(_ASK),
        ToolCall("call_weather", "weather", "{}"),
        AssistantText("One moment."),
        ToolResult("call_weather", "rain"),
    ]


def test_without_being_asked_for_there_is_none() -> None:
    call = calling(x_tool_filler=None)
    call.silence(10.0)
    assert call.said == []


def test_it_comes_by_the_clock_where_no_audio_does() -> None:
    call = calling()
    call.no_audio(1.0)
    assert call.said == ["One moment."]


def test_the_wait_begins_when_what_was_said_with_the_call_has_been_heard() -> None:
    call = calling(says="Let me look that up for you.")
    call.silence(28 / 15 + 0.7)
    assert call.said == []
    call.silence(0.2)
    assert call.said == ["One moment."]


def test_a_result_in_time_lets_nothing_be_said() -> None:
    call = calling()
    call.silence(0.7)
    result(call)
    call.client_sends("response.create")
    call.bot_says("It rains.")
    call.bot_finishes()
    call.silence(5.0)
    assert call.said == []


def test_a_result_that_comes_before_the_answer_has_ended_counts() -> None:
    """Clients run a function as soon as its arguments are known."""
    call = Call(x_tool_filler=_FILLER)
    call.client_adds(_ASK)
    call.client_sends("response.create")
    call.bot_calls("weather", "{}", call_id="call_weather")
    result(call)
    call.bot_finishes("tool_calls")
    call.silence(2.0)
    assert call.said == []


def test_results_that_the_client_wants_no_answer_to_need_none() -> None:
    call = calling("lamp", "heating")
    result(call, "heating")
    result(call, "lamp")
    call.silence(5.0)
    assert call.said == []


def test_while_one_of_several_results_is_missing_the_caller_waits() -> None:
    call = calling("lamp", "heating")
    result(call, "heating")
    call.silence(1.0)
    assert call.said == ["One moment."]


def test_it_is_said_once_for_all_functions_of_an_answer() -> None:
    call = calling("lamp", "heating")
    call.silence(1.0)
    call.bot_says("One moment.")
    call.bot_finishes()
    call.silence(10.0)
    assert call.said == ["One moment."]
    result(call, "lamp")
    result(call, "heating")
    call.client_sends("response.create")
    call.bot_calls("weather", "{}", call_id="call_weather")
    call.bot_finishes("tool_calls")
    call.silence(1.0)
    assert call.said == ["One moment."] * 2


def test_the_results_answer_takes_over_from_a_filler_that_is_being_said() -> None:
    call = calling(x_tool_filler={"text": "One moment, I am looking that up for you.", "after_ms": 0})
    call.silence(0.1)
    filler = call.client.active
    call.bot_says("One moment, I am looking that up for you.", seconds=1.0)
    result(call)
    [_, *events] = call.client_sends("response.create")
    assert call.errors == []
    done = call.last("response.done")["response"]
    assert done["id"] == filler
    assert done["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
    assert events[-1]["type"] == "response.created"
    assert call.heard == "One moment, I"  # as much as had been sent: a second of 2.7
    call.bot_says("It rains.")
    call.bot_finishes()
    assert call.heard == "It rains."


def test_a_filler_that_has_not_begun_to_sound_leaves_nothing_behind() -> None:
    call = calling()
    call.silence(1.0)
    result(call)
    call.client_sends("response.create")
    assert call.history == [("user", _ASK)]
    assert call.last("response.done")["response"]["output"] == []


def test_a_refused_request_for_an_answer_lets_the_filler_go_on() -> None:
    call = calling()
    call.silence(1.0)
    filler = call.client.active
    [error] = call.client_sends("response.create", response={"input": [{"type": "item_reference", "id": "unknown"}]})
    assert error["error"]["code"] == "item_not_found"
    assert call.client.active == filler


def test_a_filler_can_be_cancelled_by_its_id_or_as_the_conversations() -> None:
    call = calling()
    call.silence(1.0)
    call.client_sends("response.cancel")
    assert call.last("response.done")["response"]["status_details"]["reason"] == "client_cancelled"
    call.silence(3.0)
    assert call.said == ["One moment."]


def test_nothing_is_said_while_the_caller_speaks() -> None:
    call = calling(audio=server_vad(create_response=False))
    call.caller_says("and in Bergen please", seconds=3.0)
    assert call.said == []
    call.silence(0.5 + 0.7)
    assert call.said == []
    call.silence(0.2)
    assert call.said == ["One moment."]


def test_a_turn_that_is_answered_ends_the_wait() -> None:
    call = calling()
    call.caller_says("never mind")
    call.silence(1.0)
    call.bot_says("All right.")
    call.bot_finishes()
    call.silence(5.0)
    assert call.said == []


def test_a_caller_stops_it_as_any_answer() -> None:
    call = calling()
    call.silence(1.0)
    call.bot_says("One moment.")
    call.silence(0.3)
    call.caller_says("never mind")
    assert call.last("response.done")["response"]["status_details"]["reason"] == "turn_detected"
    call.silence(1.0)
    assert call.asked[-1] == UserText("never mind")


@pytest.mark.parametrize("sent", [True, False], ids=["played out", "being sent"])
@pytest.mark.parametrize("heard", [True, False])
def test_noise_that_stops_it_does_not_bring_it_back(sent: bool, heard: bool) -> None:
    call = calling()
    call.silence(1.0)
    if heard or sent:
        call.bot_says("One moment.", seconds=2.0)
        call.silence(0.4)
    if sent:
        call.bot_finishes()
    call.caller_says("some thing loud", seconds=0.8)
    call.recognition_fails = True  # it turns out to hold no words
    call.silence(3.0)
    assert call.said == ["One moment."]
    assert len(call.requests) == 1


def test_a_voice_that_fails_costs_only_the_filler() -> None:
    call = calling()
    call.silence(1.0)
    call.bot_fails()
    result(call)
    call.client_sends("response.create")
    call.bot_says("It rains.")
    call.bot_finishes()
    assert call.heard == "It rains."


def test_a_function_call_that_the_client_deletes_is_waited_for_no_more() -> None:
    call = calling()
    item_id = call.last("response.output_item.done")["item"]["id"]
    call.client_sends("conversation.item.delete", item_id=item_id)
    call.silence(2.0)
    assert call.said == []


def test_written_answers_have_none() -> None:
    call = Call(x_tool_filler=_FILLER, output_modalities=["text"])
    call.client_adds(_ASK)
    call.client_sends("response.create")
    call.bot_calls("weather", "{}")
    call.bot_finishes("tool_calls")
    call.silence(2.0)
    assert call.said == []


def test_a_response_has_a_filler_of_its_own() -> None:
    call = Call()
    call.client_adds(_ASK)
    call.client_sends(
        "response.create",
        response={"x_tool_filler": {"text": "Let me see.", "after_ms": 500}, "metadata": {"client_event_id": "x"}},
    )
    call.bot_calls("weather", "{}")
    call.bot_finishes("tool_calls")
    call.silence(0.6)
    assert call.said == ["Let me see."]
    # LiveKit takes the response that echoes its event's id for the answer to it, and that one has come.
    assert call.last("response.created")["response"]["metadata"] is None


def test_a_filler_waits_for_what_is_spoken_beside_the_conversation() -> None:
    """Many applications say something themselves while a function runs."""
    call = calling()
    call.client_sends("response.create", response={"conversation": "none", "instructions": "Say that it takes a bit."})
    call.silence(2.0)
    assert call.said == []
    call.bot_says("It takes a bit.", seconds=1.0)
    call.bot_finishes()
    call.silence(1.7)
    assert call.said == []
    call.silence(0.2)
    assert call.said == ["One moment."]


# --- several functions at once


def test_results_come_in_any_order_and_the_model_sees_those_that_are_there() -> None:
    call = calling("lamp", "heating", "weather")
    result(call, "weather", "rain")
    result(call, "lamp", "on")
    assert len(call.requests) == 1
    call.client_sends("response.create")
    assert call.asked[-2:] == [ToolResult("call_weather", "rain"), ToolResult("call_lamp", "on")]
    call.bot_says("The lamp is on, and it rains.")
    call.bot_finishes()
    result(call, "heating", "off")
    call.client_sends("response.create")
    assert call.asked[-1] == ToolResult("call_heating", "off")


# --- a result that comes late


def test_a_late_result_is_kept_and_shown_with_the_next_turn() -> None:
    call = calling()
    call.caller_says("never mind what about Bergen")
    result(call)
    call.silence(3.0)
    assert len(call.requests) == 2, "nobody has asked for an answer to the result alone"
    assert ToolResult("call_weather", "rain") in call.asked
    call.bot_says("In Oslo it rains.")
    call.bot_finishes()
    call.silence(5.0)
    assert len(call.requests) == 2


def test_a_result_that_comes_when_the_turn_is_being_answered_is_kept_for_the_next() -> None:
    call = calling()
    call.caller_says("never mind")
    call.silence(1.0)
    call.bot_says("All right.")
    result(call)
    [error] = call.client_sends("response.create")  # as the hosted service; clients know it and go on
    assert error["error"]["code"] == "conversation_already_has_active_response"
    call.bot_finishes()
    call.silence(2.0)
    call.caller_says("so does it rain")
    call.silence(1.0)
    assert ToolResult("call_weather", "rain") in call.asked


@pytest.mark.parametrize("create_response", [True, False])
def test_an_answer_asked_for_while_the_caller_speaks_answers_their_turn_too(create_response: bool) -> None:
    """Clients ask for an answer as soon as a function is done, whoever is speaking."""
    call = calling(audio=server_vad(create_response=create_response))
    call.caller_says("and how is it")
    result(call)
    created = call.client_sends("response.create")[-1]
    assert created["type"] == "response.created", "LiveKit gives up after waiting 5 s for it"
    call.caller_says("in Bergen")
    assert len(call.requests) == 1
    call.silence(1.0)
    assert call.asked[-2:] == [ToolResult("call_weather", "rain"), UserText("and how is it in Bergen")]
    call.bot_says("It rains in Oslo, and in Bergen too.")
    call.bot_finishes()
    call.silence(5.0)
    assert len(call.requests) == 2
    assert len(call.all_of("response.created")) == 2


def test_noise_does_not_hold_it_for_long() -> None:
    call = calling()
    call.caller_makes_noise()
    result(call)
    call.client_sends("response.create")
    assert len(call.requests) == 1
    call.silence(1.0)
    assert call.asked[-1] == ToolResult("call_weather", "rain")


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        ("input_audio_buffer.clear", {}),
        ("session.update", {"session": {"audio": {"input": {"turn_detection": None}}}}),
        ("input_audio_buffer.commit", {}),
    ],
)
def test_a_client_that_ends_the_callers_turn_has_it_begun(event: str, fields: dict[str, Any]) -> None:
    call = calling()
    call.caller_says("well")
    result(call)
    call.client_sends("response.create")
    assert len(call.requests) == 1
    call.client_sends(event, **fields)
    call.no_audio(0.5)
    assert len(call.requests) == 2


def test_a_caller_who_begins_to_speak_before_it_is_heard_is_answered_with_it() -> None:
    call = calling()
    result(call)
    call.client_sends("response.create")
    call.caller_says("and in Bergen")
    assert call.last("response.done")["response"]["status"] == "cancelled"
    call.silence(1.0)
    assert call.asked[-2:] == [ToolResult("call_weather", "rain"), UserText("and in Bergen")]
