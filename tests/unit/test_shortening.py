"""What is left out of a conversation that holds more than a model can read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.llm.interface import AssistantText, ChatMessage, SystemText, ToolCall, ToolResult, UserText
from server.llm.shortening import left_out, message_tokens, text_tokens

A, B, C = (ToolCall(name, "f", "{}") for name in "abc")
RESULT_A, RESULT_B, RESULT_C = (ToolResult(name, "x") for name in "abc")
OLD, NEW, SAID, RULE = UserText("old"), UserText("new"), AssistantText("said"), SystemText("rule")


@pytest.mark.parametrize(
    ("messages", "surplus", "gone"),
    [
        ([OLD, SAID, NEW], 0, set()),
        ([OLD, SAID, NEW], 1, {0}),
        ([OLD, SAID, NEW], 2, {0, 1}),
        ([OLD, SAID, NEW], 9, {0, 1}),
        ([RULE, OLD, SAID, NEW], 1, {1}),
        ([OLD, A, RESULT_A, SAID, NEW], 2, {0, 1, 2}),
        ([A, OLD, RESULT_A, NEW], 1, {0, 2}),
        ([NEW, A, RESULT_A, B, RESULT_B, C, RESULT_C], 3, {1, 2, 3, 4}),
        ([NEW, A, RESULT_A], 9, set()),
        ([SAID], 9, set()),
        ([], 9, set()),
    ],
)
def test_the_oldest_go_first_pairs_as_one_and_the_newest_turn_stays(
    messages: list[ChatMessage], surplus: int, gone: set[int]
) -> None:
    assert left_out(messages, surplus, lambda _: 1) == gone


MESSAGES = st.lists(
    st.one_of(
        st.just(RULE),
        st.just(OLD),
        st.just(SAID),
        st.builds(ToolCall, st.sampled_from("abc"), st.just("f"), st.just("{}")),
        st.builds(ToolResult, st.sampled_from("abc"), st.just("x")),
    ),
    max_size=12,
)


@given(MESSAGES, st.integers(0, 20))
def test_no_call_loses_its_result_and_no_rule_or_newest_word_goes(messages: list[ChatMessage], surplus: int) -> None:
    gone = left_out(messages, surplus, lambda _: 1)
    kept = [message for index, message in enumerate(messages) if index not in gone]
    left = [messages[index] for index in gone]
    ids = [{m.call_id for m in side if isinstance(m, ToolCall | ToolResult)} for side in (kept, left)]
    assert not ids[0] & ids[1]
    assert RULE not in left
    assert [m for m in messages if isinstance(m, UserText)][-1:] == [m for m in kept if isinstance(m, UserText)][-1:]


@pytest.mark.parametrize("text", ["", "Hello there.", "12345", "你好世界", "\ud83d"])
def test_a_text_is_estimated_at_one_token_for_a_byte_at_most(text: str) -> None:
    assert text_tokens(text) <= len(text.encode(errors="replace"))
    assert message_tokens(UserText(text)) > text_tokens(text)
