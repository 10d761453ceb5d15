"""A conversation's history in the shape that the services accept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.llm.history import dialogue, in_wire_format, well_formed
from server.llm.interface import AssistantText, ChatMessage, Memo, SystemText, ToolCall, ToolResult, UserText

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


@pytest.mark.parametrize(
    "arguments", ['{"city": "Par', "", "[1]", '"Paris"', "null", "{'city': 'Paris'}", '{"a": NaN}', "{" * 5000]
)
def test_arguments_that_are_no_json_object_become_an_empty_one(arguments: str) -> None:
    """vllm#43995: a call with broken JSON makes a strict server refuse every later request."""
    assert well_formed([ToolCall("a", "get_weather", arguments)])[0] == A


def test_arguments_that_are_one_stay_as_they_are() -> None:
    call = ToolCall("a", "get_weather", '{"city":  "Paris"}')
    assert well_formed([call])[0] == call


def test_an_empty_result_says_so() -> None:
    assert well_formed([A, ToolResult("a", " ")]) == [A, ToolResult("a", "No output.")]


@pytest.mark.parametrize(
    ("messages", "turns"),
    [
        ([], [[UserText("(The call begins.)")]]),
        ([BYE], [[UserText("(The call begins.)")], [BYE], [UserText("(Go on.)")]]),
        ([HI, HI], [[HI, HI]]),
        ([HI, BYE, BYE, HI], [[HI], [BYE, BYE], [HI]]),
        ([HI, SystemText("Hurry.")], [[HI, UserText("(Instruction: Hurry.)")]]),
        ([HI, A, RESULT_A], [[HI], [A], [RESULT_A]]),
        ([HI, A], [[HI], [A], [NONE_A]]),
        ([HI, A, HI], [[HI], [A], [NONE_A, HI]]),
    ],
)
def test_turns_alternate_and_the_users_are_first_and_last(
    messages: list[ChatMessage], turns: list[list[ChatMessage]]
) -> None:
    """pipecat#2128: a template that wants user and assistant by turns refuses two turns of the caller in a row."""
    assert dialogue("", messages).turns == turns


def test_what_the_application_says_at_the_start_is_instructions() -> None:
    shaped = dialogue("Be brief.", [SystemText("Be kind."), HI])
    assert (shaped.instructions, shaped.turns) == (["Be brief.", "Be kind."], [[HI]])


_MESSAGES = st.sampled_from(
    [HI, BYE, A, B, RESULT_A, RESULT_B, UserText(" "), AssistantText(""), SystemText("Be kind."), UserText("And now?")]
)


_ASIDES = st.sampled_from([(), (), (SystemText("Go on."),)])


@given(st.lists(_MESSAGES, max_size=12), st.lists(st.tuples(st.integers(0, 12), _ASIDES), max_size=6))
def test_a_conversation_that_grows_is_shaped_as_if_it_were_seen_for_the_first_time(
    messages: list[ChatMessage], requests: list[tuple[int, tuple[ChatMessage, ...]]]
) -> None:
    """Whatever was asked before, in whatever order: items are inserted, deleted and changed between two requests.

    What follows the items in one request need not be in the next.
    """
    memo = Memo()
    for length, asides in [*requests, (len(messages), ())]:
        shaped = dialogue("Be brief.", [*messages[:length], *asides], memo)
        assert shaped == dialogue("Be brief.", [*messages[:length], *asides])
        wire = in_wire_format(shaped, memo, _written)
        assert wire == [_written(index % 2 == 1, turn)[0] for index, turn in enumerate(shaped.turns)]


def test_an_answer_and_its_rest_that_was_asked_for_are_one_turn() -> None:
    memo, rest = Memo(), AssistantText("And thanks.")
    dialogue("", [HI, BYE, SystemText("Go on.")], memo)
    assert dialogue("", [HI, BYE, rest, HI], memo).turns == [[HI], [BYE, rest], [HI]]


def test_of_a_conversation_that_has_grown_only_what_is_new_is_put_into_words_for_the_service() -> None:
    memo, written = Memo(), []

    def write(by_assistant: bool, turn: list[ChatMessage]) -> list[dict[str, object]]:
        written.append(turn)
        return _written(by_assistant, turn)

    messages: list[ChatMessage] = [HI]
    for _ in range(10):
        in_wire_format(dialogue("", messages, memo), memo, write)
        messages += [BYE, HI]
    assert len(written) == 1 + 9 * 3, "of each request the newest turn, and the two before it, which it settles"


def _written(by_assistant: bool, turn: list[ChatMessage]) -> list[dict[str, object]]:
    return [{"assistant": by_assistant, "turn": list(turn)}]
