"""What is sent to the services: Converse arguments and chat completion bodies."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.llm.chat_completions import request_body
from server.llm.converse import ConverseOptions, ConverseReader, converse_arguments
from server.llm.interface import (
    AssistantText,
    ChatMessage,
    ChatRequest,
    Finished,
    Image,
    ReasoningEffort,
    SystemText,
    TextDelta,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolCallStarted,
    ToolResult,
    UserText,
)
from server.llm.local import fit
from tests.support.bedrock_standin import fault
from tests.support.openai_llm_standin import chat_fault

CLAUDE = ConverseOptions("anthropic.claude-haiku-4-5-20251001-v1:0")
NOVA = ConverseOptions("us.amazon.nova-lite-v1:0")
CACHE_POINT = {"cachePoint": {"type": "default"}}
WEATHER = Tool("get_weather", "Weather of a city", {"type": "object", "properties": {"city": {"type": "string"}}})
HI = UserText("Hi.")
CALL, RESULT = ToolCall("call_1", "get_weather", '{"city": "Paris"}'), ToolResult("call_1", "sunny")


def converse(*messages: ChatMessage, cache: bool = False, **more: Any) -> dict[str, Any]:
    return converse_arguments(ChatRequest("Be brief.", messages, **more), CLAUDE, cache)


def test_neighbours_of_one_role_are_merged() -> None:
    assert converse(HI, UserText("Are you there?"), AssistantText("Yes."), CALL, RESULT, UserText("Well?"))[
        "messages"
    ] == [
        {"role": "user", "content": [{"text": "Hi."}, {"text": "Are you there?"}]},
        {
            "role": "assistant",
            "content": [
                {"text": "Yes."},
                {"toolUse": {"toolUseId": "call_1", "name": "get_weather", "input": {"city": "Paris"}}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"toolResult": {"toolUseId": "call_1", "content": [{"text": "sunny"}]}},
                {"text": "Well?"},
            ],
        },
    ]


def test_a_conversation_that_the_assistant_opens_and_ends_is_framed_by_the_user() -> None:
    roles = [message["role"] for message in converse(AssistantText("Hello, this is Ann."))["messages"]]
    assert roles == ["user", "assistant", "user"]


def test_system_texts_at_the_start_are_instructions_and_later_ones_the_users_words() -> None:
    arguments = converse(SystemText("Be kind."), HI, SystemText("Hurry."))
    assert arguments["system"] == [{"text": "Be brief."}, {"text": "Be kind."}]
    assert arguments["messages"] == [{"role": "user", "content": [{"text": "Hi."}, {"text": "(Instruction: Hurry.)"}]}]


def test_cache_points_stand_after_the_instructions_and_the_tools() -> None:
    arguments = converse(HI, tools=[WEATHER], cache=True)
    assert arguments["system"][-1] == CACHE_POINT
    assert arguments["toolConfig"]["tools"][-1] == CACHE_POINT
    assert CACHE_POINT not in converse(HI, tools=[WEATHER])["system"]


def test_nova_gets_no_cache_point_among_the_tools() -> None:
    arguments = converse_arguments(ChatRequest("Be brief.", [HI], tools=[WEATHER]), NOVA, prompt_cache=True)
    assert arguments["system"][-1] == CACHE_POINT
    assert len(arguments["toolConfig"]["tools"]) == 1


@pytest.mark.parametrize(
    ("choice", "sent"),
    [("auto", None), ("required", {"any": {}}), ("get_weather", {"tool": {"name": "get_weather"}})],
)
def test_the_choice_of_a_tool_is_translated(choice: str, sent: object) -> None:
    assert converse(HI, tools=[WEATHER], tool_choice=choice)["toolConfig"].get("toolChoice") == sent


def test_no_tool_is_offered_when_none_may_be_used() -> None:
    assert "toolConfig" not in converse(HI, tools=[WEATHER], tool_choice="none")


def test_tools_of_the_history_are_named_even_when_none_is_offered() -> None:
    tools = converse(HI, CALL, RESULT)["toolConfig"]["tools"]
    assert tools == [{"toolSpec": {"name": "get_weather", "inputSchema": {"json": {"type": "object"}}}}]


def test_a_call_of_a_tool_that_may_not_be_used_is_left_out() -> None:
    reader = ConverseReader(ChatRequest("", [HI, CALL, RESULT], tools=[WEATHER], tool_choice="none"))
    events = [
        event
        for raw in (
            {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "Hm."}}},
            {"contentBlockStop": {"contentBlockIndex": 0}},
            {
                "contentBlockStart": {
                    "contentBlockIndex": 1,
                    "start": {"toolUse": {"toolUseId": "x", "name": "get_weather"}},
                }
            },
            {"contentBlockDelta": {"contentBlockIndex": 1, "delta": {"toolUse": {"input": "{}"}}}},
            {"contentBlockStop": {"contentBlockIndex": 1}},
            {"messageStop": {"stopReason": "tool_use"}},
        )
        for event in reader.push(raw)
    ]
    assert [*events, reader.finish()] == [TextDelta("Hm."), Finished("stop")]


def test_a_call_without_arguments_has_an_empty_object() -> None:
    reader = ConverseReader(ChatRequest("", [HI], tools=[WEATHER]))
    start = {"start": {"toolUse": {"toolUseId": "x", "name": "get_weather"}}}
    events = [*reader.push({"contentBlockStart": start}), *reader.push({"contentBlockStop": {}})]
    assert events == [ToolCallStarted("x", "get_weather"), ToolCallDelta("x", "{}")]


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
    ],
)
def test_the_reason_for_the_end_is_translated(stop: str, reason: str) -> None:
    reader = ConverseReader(ChatRequest("", [HI]))
    list(reader.push({"messageStop": {"stopReason": stop}}))
    assert reader.finish().reason == reason


IDS = st.sampled_from(["a", "b", "c", "an id with spaces", "x" * 100, ""])
TEXTS = st.sampled_from(["", " ", "Hello."])
MESSAGES = st.lists(
    st.one_of(
        TEXTS.map(UserText),
        TEXTS.map(AssistantText),
        TEXTS.map(SystemText),
        st.builds(
            ToolCall, IDS, st.sampled_from(["get_weather", "gone", "odd name!"]), st.sampled_from(["{}", '{"a', "[1]"])
        ),
        st.builds(ToolResult, IDS, TEXTS),
    ),
    max_size=12,
)


@given(MESSAGES, st.sampled_from(["auto", "none", "required", "get_weather"]), st.sampled_from(["", "Be brief."]))
def test_no_history_is_refused_by_converse(messages: list[ChatMessage], choice: str, instructions: str) -> None:
    request = ChatRequest(instructions, messages, tools=[WEATHER], tool_choice=choice, temperature=1.2)
    assert fault(converse_arguments(request, CLAUDE, prompt_cache=True)) == ""


@given(MESSAGES, st.sampled_from(["auto", "none", "required", "get_weather"]), st.sampled_from(["", "Be brief."]))
def test_no_history_is_refused_by_the_strictest_chat_server(
    messages: list[ChatMessage], choice: str, instructions: str
) -> None:
    request = ChatRequest(instructions, messages, tools=[WEATHER], tool_choice=choice)
    assert chat_fault(request_body("small", request)) == ""


def test_a_chat_completion_holds_the_whole_conversation() -> None:
    request = ChatRequest(
        "Be brief.",
        [HI, AssistantText("Let me look."), CALL, RESULT, SystemText("Hurry.")],
        tools=[WEATHER],
        tool_choice="get_weather",
        max_output_tokens=50,
        temperature=0.3,
    )
    function = {"name": "get_weather", "arguments": '{"city": "Paris"}'}
    assert request_body("small", request) == {
        "model": "small",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi."},
            {
                "role": "assistant",
                "content": "Let me look.",
                "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
            {"role": "assistant", "content": "One moment."},
            {"role": "user", "content": "(Instruction: Hurry.)"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "get_weather",
                    "description": "Weather of a city",
                    "parameters": WEATHER.parameters,
                },
            }
        ],
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
        "max_tokens": 50,
        "temperature": 0.3,
    }


def test_openai_itself_has_another_name_for_the_limit() -> None:
    body = request_body("gpt", ChatRequest("", [HI], max_output_tokens=50), limit_name="max_completion_tokens")
    assert body["max_completion_tokens"] == 50
    assert "max_tokens" not in body


@pytest.mark.parametrize("choice", ["auto", "none", "required"])
def test_a_chat_completion_takes_the_choice_of_a_tool_as_it_is(choice: str) -> None:
    assert request_body("small", ChatRequest("", [HI], tools=[WEATHER], tool_choice=choice))["tool_choice"] == choice


def test_neighbours_of_one_role_are_one_message() -> None:
    messages: list[ChatMessage] = [
        HI,
        UserText("Are you there?"),
        AssistantText("Yes."),
        AssistantText("I am."),
        UserText("Good."),
    ]
    assert request_body("small", ChatRequest("", messages))["messages"] == [
        {"role": "user", "content": "Hi.\nAre you there?"},
        {"role": "assistant", "content": "Yes.\nI am."},
        {"role": "user", "content": "Good."},
    ]


def test_names_that_services_refuse_are_written_as_they_take_them() -> None:
    odd = Tool("get weather!", "", {"type": "object"})
    body = request_body("small", ChatRequest("", [HI, ToolCall("an id", "get weather!", "{}")], [odd], "get weather!"))
    assert body["tools"][0]["function"]["name"] == "get_weather_"
    assert body["tool_choice"]["function"]["name"] == "get_weather_"
    assert body["messages"][1]["tool_calls"][0]["function"]["name"] == "get_weather_"
    assert body["messages"][1]["tool_calls"][0]["id"] == body["messages"][2]["tool_call_id"]


def test_a_choice_of_a_tool_that_is_not_offered_is_left_to_the_model() -> None:
    assert "tool_choice" not in request_body("small", ChatRequest("", [HI], [WEATHER], "gone"))
    assert "toolChoice" not in converse(HI, tools=[WEATHER], tool_choice="gone")["toolConfig"]


def test_what_a_session_says_of_reasoning_and_parallel_calls_reaches_a_chat_server() -> None:
    request = ChatRequest("", [HI], [WEATHER], parallel_tool_calls=False, reasoning_effort="low")
    body = request_body("small", request)
    assert (body["parallel_tool_calls"], body["reasoning_effort"]) == (False, "low")
    assert "parallel_tool_calls" not in request_body("small", ChatRequest("", [HI], parallel_tool_calls=False))
    assert "reasoning_effort" not in request_body("small", request, without={"reasoning_effort"})


@pytest.mark.parametrize(
    ("model", "effort", "fields"),
    [
        ("us.amazon.nova-2-lite-v1:0", "low", {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}),
        ("us.amazon.nova-2-lite-v1:0", "xhigh", {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}}),
        ("us.amazon.nova-2-lite-v1:0", "none", {"reasoningConfig": {"type": "disabled"}}),
        ("us.amazon.nova-lite-v1:0", "low", None),
        ("openai.gpt-oss-120b-1:0", "minimal", {"reasoning_effort": "low"}),
        ("us.anthropic.claude-sonnet-5", "medium", {"output_config": {"effort": "medium"}}),
        ("anthropic.claude-opus-4-6-v1", "none", {"thinking": {"type": "disabled"}}),
        ("anthropic.claude-haiku-4-5-20251001-v1:0", "high", None),
        ("meta.llama3-3-70b-instruct-v1:0", "high", None),
    ],
)
def test_what_a_session_says_of_reasoning_reaches_the_models_of_bedrock_that_take_it(
    model: str, effort: ReasoningEffort, fields: dict[str, Any] | None
) -> None:
    request = ChatRequest("", [HI], reasoning_effort=effort, max_output_tokens=50)
    arguments = converse_arguments(request, ConverseOptions(model), prompt_cache=False)
    assert arguments.get("additionalModelRequestFields") == fields
    assert ("inferenceConfig" in arguments) == (effort != "xhigh")  # Nova 2 refuses limits beside its highest effort
    plain = converse_arguments(request, ConverseOptions(model), prompt_cache=False, model_specific=False)
    assert "additionalModelRequestFields" not in plain


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"tools": [WEATHER]}, True),
        ({"tools": [WEATHER], "tool_choice": "required"}, False),  # Converse refuses two choices
        ({}, False),
    ],
)
def test_claude_is_told_to_call_one_function_at_a_time(more: dict[str, Any], told: bool) -> None:
    fields = converse(HI, parallel_tool_calls=False, **more).get("additionalModelRequestFields")
    assert fields == ({"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}} if told else None)


# --- the embedded model's small context


def turns(count: int) -> list[ChatMessage]:
    return [(UserText if number % 2 else AssistantText)(f"Turn {number}. " + "word " * 40) for number in range(count)]


def test_the_newest_turns_are_kept() -> None:
    kept = fit(ChatRequest("Be brief.", turns(60))).messages
    assert list(kept) == turns(60)[-len(kept) :]
    assert 4 <= len(kept) < 20


def test_what_is_kept_mostly_begins_where_it_began_before() -> None:
    beginnings = [fit(ChatRequest("Be brief.", turns(count))).messages[0] for count in range(20, 60)]
    changes = sum(one != other for one, other in pairwise(beginnings))
    assert changes <= 12


def test_a_conversation_that_fits_is_left_alone() -> None:
    request = ChatRequest("Be brief.", turns(4))
    assert fit(request).messages == request.messages


@pytest.mark.parametrize(("asked", "given"), [(None, 160), (1000, 160), (20, 20)])
def test_answers_are_kept_short(asked: int | None, given: int) -> None:
    assert fit(ChatRequest("", [HI], max_output_tokens=asked)).max_output_tokens == given


# --- images

CAT = Image("jpeg", b"cat", "high")


def test_converse_takes_the_bytes_of_an_image_before_the_text() -> None:
    image = {"image": {"format": "jpeg", "source": {"bytes": b"cat"}}}
    assert converse(UserText("What is this?", (CAT,)))["messages"] == [
        {"role": "user", "content": [image, {"text": "What is this?"}]}
    ]
    assert converse(UserText("", (CAT,)), HI)["messages"][0]["content"] == [image, {"text": "Hi."}]


def test_chat_completions_take_an_image_as_a_data_uri_and_text_alone_as_before() -> None:
    def content(*messages: ChatMessage) -> Any:
        return request_body("m", ChatRequest("", messages))["messages"][-1]["content"]

    image = {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,Y2F0", "detail": "high"}}
    assert content(UserText("What is this?", (CAT,))) == [image, {"type": "text", "text": "What is this?"}]
    assert content(UserText("", (CAT,))) == [image]
    assert content(UserText("", (CAT,)), HI) == [image, {"type": "text", "text": "Hi."}]
    assert content(HI) == "Hi."


def test_the_nodes_own_model_is_told_that_there_is_one() -> None:
    [message] = fit(ChatRequest("", [UserText("What is this?", (CAT,))])).messages
    assert message == UserText("What is this? (With an image that you can't see.)")
