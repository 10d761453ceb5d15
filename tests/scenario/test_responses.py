"""What a client can ask of an answer, and what functions have to do with it."""

from typing import Any

import pytest

from server.llm.interface import SystemText, Tool, ToolCall, ToolResult, UserText
from tests.support.call import Call

_WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@pytest.fixture
def call() -> Call:
    call = Call()
    call.client_adds("hello")
    call.client_sends("response.create")
    _ = call.events
    return call


def outcome(call: Call) -> tuple[str, dict[str, Any]]:
    response = call.last("response.done")["response"]
    return response["status"], response["status_details"]


def test_a_response_takes_settings_of_its_own() -> None:
    call = Call(tools=[_WEATHER], max_output_tokens=100, x_temperature=0.2)
    call.client_sends(
        "response.create",
        response={
            "instructions": "Say it in French.",
            "tools": [],
            "tool_choice": "none",
            "output_modalities": ["text"],
            "max_output_tokens": "inf",
            "audio": {"output": {"voice": "marin"}},
            "x_temperature": 0.0,
            "metadata": {"client_event_id": "event_7"},
        },
    )
    [request] = call.requests
    assert request.instructions == "Say it in French."
    assert (request.tools, request.tool_choice) == ((), "none")
    assert (request.max_output_tokens, request.temperature) == (None, 0.0)
    response = call.last("response.created")["response"]
    assert response["metadata"] == {"client_event_id": "event_7"}  # LiveKit waits for this echo
    assert response["output_modalities"] == ["text"]
    assert response["audio"]["output"]["voice"] == "marin"
    assert response["max_output_tokens"] == "inf"
    call.bot_writes("Bonjour.")
    call.bot_finishes()
    assert call.last("response.done")["response"]["metadata"] == {"client_event_id": "event_7"}
    call.client_sends("response.create")
    request = call.requests[-1]
    assert (request.instructions, request.max_output_tokens, request.temperature) == ("Be brief.", 100, 0.2)
    assert request.tools == (Tool("get_weather", "The weather", _WEATHER["parameters"]),)  # type: ignore[arg-type]  # a schema
    assert call.last("response.created")["response"]["metadata"] is None


def test_one_answer_at_a_time(call: Call) -> None:
    before = call.client.active
    [error] = call.client_sends("response.create", event_id="mine")
    assert error["error"]["code"] == "conversation_already_has_active_response"
    assert error["error"]["event_id"] == "mine"
    assert str(before) in error["error"]["message"]
    call.bot_says("Hello.")
    call.bot_finishes()
    assert outcome(call)[0] == "completed"


def test_cancel_with_nothing_active() -> None:
    call = Call()
    [error] = call.client_sends("response.cancel", event_id="mine")
    assert (error["error"]["code"], error["error"]["event_id"]) == ("response_cancel_not_active", "mine")


def test_cancel_of_another_response_leaves_the_active_one_alone(call: Call) -> None:
    [error] = call.client_sends("response.cancel", response_id="resp_of_old")
    assert (error["error"]["code"], error["error"]["param"]) == ("response_cancel_not_active", "response_id")
    assert call.client.active


def test_a_client_that_asks_at_once_gets_one_answer_to_the_turn() -> None:
    call = Call(recognition_seconds=1.0)
    call.caller_says("hello")
    call.silence(0.6)
    call.client_sends("response.create")  # the words are not known yet
    assert not call.requests
    call.silence(1.0)
    assert call.asked == [UserText("hello")]
    call.bot_says("Hello.")
    call.bot_finishes()
    call.silence(3.0)
    assert len(call.requests) == 1


def test_a_response_outside_the_conversation_leaves_history_alone() -> None:
    call = Call()
    call.client_adds("hello")
    call.client_sends(
        "response.create",
        response={
            "conversation": "none",
            "output_modalities": ["text"],
            "instructions": "Classify.",
            "metadata": {"topic": "x"},
        },
    )
    assert call.asked == [UserText("hello")]
    call.bot_writes("greeting")
    call.bot_finishes()
    assert call.last("response.created")["response"]["conversation_id"] is None
    assert [event for event in call.events if event.startswith("conversation.item")] == [
        "conversation.item.added",
        "conversation.item.done",  # those of "hello"
    ]
    assert call.last("response.done")["response"]["output"][0]["content"][0]["text"] == "greeting"
    assert call.history == [("user", "hello")]


def test_a_caller_does_not_stop_what_is_written_outside_the_conversation() -> None:
    # "interrupt_response: cancel any ongoing response with output to the default conversation" (OpenAI's reference)
    call = Call()
    call.client_sends("response.create", response={"conversation": "none", "output_modalities": ["text"]})
    call.caller_says("hello")
    call.silence(1.0)
    assert call.all_of("response.done") == []
    assert call.asked == [UserText("hello")]


def test_what_is_spoken_outside_the_conversation_stops_when_the_caller_speaks_and_is_kept_nowhere() -> None:
    call = Call()
    call.client_sends("response.create", response={"conversation": "none"})
    call.bot_says("An announcement to all passengers on the platform.")
    call.silence(1.0)
    call.caller_says("what")
    assert outcome(call)[0] == "cancelled"
    call.silence(1.0)
    assert call.asked == [UserText("what")]
    assert call.conversation.playback.unfinished(call.now) == []
    assert not call.conversation.playback.knows(call.last("response.output_item.done")["item"]["id"])


def test_a_response_with_input_of_its_own_sees_nothing_else() -> None:
    call = Call()
    call.client_adds("my PIN is 1234")
    kept = call.client_adds("translate this")
    call.client_sends(
        "response.create",
        response={
            "input": [
                {"type": "item_reference", "id": kept},
                {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "To French."}]},
                {"type": "function_call", "name": "f", "arguments": "", "call_id": "call_9"},
                {"type": "function_call_output", "call_id": "call_9", "output": "42"},
            ]
        },
    )
    assert call.asked == [
        UserText("translate this"),
        SystemText("To French."),
        ToolCall("call_9", "f", "{}"),
        ToolResult("call_9", "42"),
    ]
    call.bot_says("Bonjour.")
    call.bot_finishes()
    assert len(call.history) == 3


def test_a_turn_is_still_answered_after_a_response_with_input_of_its_own() -> None:
    call = Call(recognition_seconds=1.0)
    call.caller_says("hello")
    call.silence(0.6)
    call.client_sends("response.create", response={"input": []})
    call.silence(1.0)
    assert call.asked == []
    call.bot_says("Done.")
    call.bot_finishes()
    assert UserText("hello") in call.asked


# --- functions


def test_a_function_call_round_trip() -> None:
    call = Call(tools=[_WEATHER], tool_choice={"type": "function", "name": "get_weather"})
    call.caller_says("how is the weather in Oslo")
    call.silence(1.0)
    assert call.requests[-1].tool_choice == "get_weather"
    assert [tool.name for tool in call.requests[-1].tools] == ["get_weather"]
    call.bot_calls("get_weather", '{"city":"Oslo"}')
    call.bot_finishes("tool_calls")
    call.client_sends(
        "conversation.item.create", item={"type": "function_call_output", "call_id": "call_1", "output": "rain"}
    )
    assert len(call.requests) == 1
    call.client_sends("response.create")
    assert call.asked == [
        UserText("how is the weather in Oslo"),
        ToolCall("call_1", "get_weather", '{"city":"Oslo"}'),
        ToolResult("call_1", "rain"),
    ]
    call.bot_says("It rains.")
    call.bot_finishes()
    assert call.history == [("user", "how is the weather in Oslo"), ("assistant", "It rains.")]


def test_empty_arguments_become_an_empty_object(call: Call) -> None:
    # LiveKit parses them from output_item.done, and throws on an empty string.
    call.bot_calls("get_time")
    call.bot_finishes("tool_calls")
    assert call.last("response.output_item.added")["item"]["arguments"] == ""
    assert call.last("response.function_call_arguments.done")["arguments"] == "{}"
    assert call.last("response.output_item.done")["item"]["arguments"] == "{}"
    assert call.last("conversation.item.done")["item"]["arguments"] == "{}"
    call.client_sends("response.create")
    assert call.asked[-1] == ToolCall("call_1", "get_time", "{}")


def test_a_function_call_deleted_while_it_is_written_is_still_told_to_its_end(call: Call) -> None:
    call.bot_calls("get_time", "{")
    item_id = call.last("response.output_item.added")["item"]["id"]
    call.client_sends("conversation.item.delete", item_id=item_id)
    _ = call.events
    call.bot_finishes("tool_calls")
    assert call.events == [
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]
