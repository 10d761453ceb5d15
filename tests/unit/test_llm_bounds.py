"""What one answer of a language model may hold at most."""

from math import inf

import pytest

from server.llm.bounds import MOST_CALLS, AnswerBounds, BoundPassed
from server.llm.interface import Finished, TextDelta, ToolCallDelta, ToolCallStarted

TOKENS = 2000
CHARACTERS = 16 * TOKENS


def test_an_honest_answer_meets_no_bound() -> None:
    bounds = AnswerBounds(TOKENS, inf)
    for _ in range(TOKENS):
        bounds.receive(600)
        for event in (TextDelta(" word"), ToolCallDelta("a", '"key":')):
            assert bounds.take(event) is not None
    assert bounds.take(Finished("stop")) == Finished("stop")
    assert bounds.passed is None


def test_of_text_that_does_not_end_only_so_much_is_taken() -> None:
    bounds = AnswerBounds(TOKENS, inf)
    assert bounds.take(TextDelta("a" * (CHARACTERS - 1))) == TextDelta("a" * (CHARACTERS - 1))
    assert bounds.passed is None
    assert bounds.take(TextDelta("bcd")) == TextDelta("b")
    assert bounds.passed == "text"


def test_a_short_limit_leaves_room_for_what_servers_count_differently() -> None:
    bounds = AnswerBounds(1, inf)
    bounds.take(TextDelta("a" * 10_000))
    assert bounds.passed is None


def test_arguments_that_do_not_end_are_worth_nothing() -> None:
    bounds = AnswerBounds(TOKENS, inf)
    bounds.take(ToolCallStarted("call_1", "get_weather"))
    with pytest.raises(BoundPassed, match=f"more than {CHARACTERS} characters") as caught:
        bounds.take(ToolCallDelta("call_1", "a" * CHARACTERS))
    assert (caught.value.bound, caught.value.failure, caught.value.retryable) == ("arguments", "interrupted", False)


def test_a_name_without_end_counts_as_arguments() -> None:
    with pytest.raises(BoundPassed):
        AnswerBounds(TOKENS, inf).take(ToolCallStarted("call_1", "a" * CHARACTERS))


def test_more_calls_than_tools_can_be_offered_are_refused() -> None:
    bounds = AnswerBounds(TOKENS, inf)
    for number in range(MOST_CALLS):
        bounds.take(ToolCallStarted(f"call_{number}", "f"))
    with pytest.raises(BoundPassed, match=f"more than {MOST_CALLS} functions"):
        bounds.take(ToolCallStarted("one_more", "f"))


def test_thoughts_and_comments_count_as_bytes() -> None:
    bounds = AnswerBounds(TOKENS, inf)
    for _ in range(6):
        bounds.receive(1_000_000)
    assert bounds.passed is None
    bounds.receive(1_000_000)
    assert bounds.passed == "bytes"


def test_a_model_that_never_comes_to_an_end_is_given_no_more_time() -> None:
    bounds = AnswerBounds(TOKENS, ends_at=300.0)
    for second in range(0, 300, 20):
        bounds.wait(second)
        assert bounds.take(TextDelta(" word")) == TextDelta(" word")
    assert bounds.passed is None
    bounds.wait(300.0)
    assert bounds.passed == "seconds"
