"""A conversation's history in the shape that the services accept."""

import pytest

from server.llm.history import well_formed
from server.llm.interface import AssistantText, ChatMessage, SystemText, ToolCall, ToolResult, UserText

A, B = ToolCall("a", "get_weather", "{}"), ToolCall("b", "get_time", "{}")
RESULT_A, RESULT_B = ToolResult("a", "sunny"), ToolResult("b", "noon")
NONE_A, NONE_B = ToolResult("a", "No result yet."), ToolResult("b", "No result yet.")
LATE_A = UserText("Result of get_weather: sunny")
HI, BYE = UserText("Hi."), AssistantText("Bye.")


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], []),
        ([HI, A, RESULT_A, BYE], [HI, A, RESULT_A, BYE]),
        ([A, B, RESULT_A, RESULT_B], [A, B, RESULT_A, RESULT_B]),
        ([A, B, RESULT_B, RESULT_A], [A, B, RESULT_A, RESULT_B]),
        ([A, RESULT_A, B, RESULT_B], [A, RESULT_A, B, RESULT_B]),
        ([HI, A], [HI, A, NONE_A]),
        ([A, HI], [A, NONE_A, HI]),
        ([A, B, RESULT_B], [A, B, NONE_A, RESULT_B]),
        ([A, HI, BYE, RESULT_A], [A, NONE_A, HI, BYE, LATE_A]),
        ([HI, RESULT_A], [HI, UserText("Result of a function: sunny")]),
        ([A, A, RESULT_A], [A, RESULT_A]),
        ([A, RESULT_A, HI, A, RESULT_A], [A, RESULT_A, HI, LATE_A]),
        ([A, BYE, RESULT_A], [BYE, A, RESULT_A]),
        ([HI, UserText(" \n"), AssistantText(""), SystemText("")], [HI]),
        ([SystemText("Be kind."), HI], [SystemText("Be kind."), HI]),
    ],
)
def test_each_call_is_followed_by_its_result(messages: list[ChatMessage], expected: list[ChatMessage]) -> None:
    assert well_formed(messages) == expected
