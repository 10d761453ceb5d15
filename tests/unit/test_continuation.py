"""What one model began another finishes: in whole words, and nothing is said twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.llm.continuation import Passage, WholeWords, WithoutRepetition, rest_of, said_of
from server.llm.interface import (
    AssistantText,
    ChatRequest,
    Finished,
    LlmEvent,
    Memo,
    SystemText,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    UserText,
)

SAID = "We are open all week. Our opening hours are "


def continued(said: str, *deltas: str) -> str:
    """What is passed on of a continuation."""
    passage = Passage(said)
    events = [event for delta in deltas for event in passage.push(TextDelta(delta))]
    events += passage.push(Finished("stop"))
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@pytest.mark.parametrize(
    ("deltas", "leaves"),
    [
        (["Our", " open", "ing hours"], ["", "Our ", "opening "]),
        (["from 9", " to"], ["from ", "9 "]),
        (["Yes", "."], ["", "Yes."]),
        (["お昼", "まで"], ["お昼", "まで"]),
    ],
)
def test_text_leaves_in_whole_words(deltas: list[str], leaves: list[str]) -> None:
    words = WholeWords()
    assert [words.push(delta) for delta in deltas] == leaves


@given(st.lists(st.text(max_size=60)))
def test_every_word_leaves_in_the_end(deltas: list[str]) -> None:
    words = WholeWords()
    assert "".join([*map(words.push, deltas), words.flush()]) == "".join(deltas)


@pytest.mark.parametrize(
    "rest",
    [
        "nine to five.",
        "are nine to five.",
        "Our opening hours are nine to five.",
        "our opening hours ARE nine to five.",
        "We are open all week. Our opening hours are nine to five.",
        "…nine to five.",
        "... are nine to five.",
        "Our opening hours are: nine to five.",
    ],
)
@pytest.mark.parametrize("size", [1, 3, 100])
def test_what_a_model_repeats_of_what_was_said_is_left_out(rest: str, size: int) -> None:
    deltas = [rest[at : at + size] for at in range(0, len(rest), size)]
    assert continued(SAID, *deltas) == "nine to five."


@pytest.mark.parametrize(
    ("said", "rest", "all_of_it"),
    [
        ("Your code is 5 ", "5 7", "Your code is 5 5 7"),
        ("Our hours", "are nine to five", "Our hours are nine to five"),
        ("Our hours are nine to five", ". On Sunday", "Our hours are nine to five. On Sunday"),
        ("We are open.", "On Sunday", "We are open. On Sunday"),
        ("We are open. ", "We close at five.", "We are open. We close at five."),
        ("営業時間は", "九時からです", "営業時間は九時からです"),
        ("Hello there", "", "Hello there"),
    ],
)
def test_a_continuation_meets_what_was_said_between_two_words(said: str, rest: str, all_of_it: str) -> None:
    assert said + continued(said, rest) == all_of_it


def test_what_can_be_no_repetition_leaves_at_once() -> None:
    words = WithoutRepetition(SAID)
    assert words.push("nine ") == "nine "
    assert words.push("are ") == "are "


def test_a_repetition_that_never_ends_is_all_left_out() -> None:
    assert continued(SAID, "Our opening hours are ") == ""


def test_a_beginning_that_turns_out_to_be_no_repetition_is_said_whole() -> None:
    assert continued("We open. Our hours vary. ", "Our hours", " on Sunday.") == "Our hours on Sunday."


@given(st.text(alphabet="ab .", max_size=12), st.text(alphabet="abc .", max_size=12))
def test_of_any_continuation_only_its_beginning_is_left_out(said: str, rest: str) -> None:
    assert rest.endswith(continued(said, rest).lstrip())


def test_calls_are_told_once_the_answer_is_whole() -> None:
    """A model that breaks off in the middle of a call has called nothing; who takes over may call it."""
    passage = Passage()
    call: list[LlmEvent] = [ToolCallStarted("c1", "book"), ToolCallDelta("c1", "{}")]
    assert [passage.push(event) for event in (TextDelta("One moment"), *call)] == [[TextDelta("One ")], [], []]
    done = Finished("tool_calls")
    assert passage.push(done) == [TextDelta("moment"), *call, done]


def test_what_the_next_model_is_asked_holds_what_was_said_and_to_go_on() -> None:
    request = ChatRequest("Be brief.", [UserText("When?")], memo=Memo())
    rest = rest_of(request, SAID)
    assert rest.messages[:2] == [UserText("When?"), AssistantText(SAID.strip())]
    assert isinstance(rest.messages[2], SystemText)
    assert rest.memo is not request.memo
    assert rest_of(request, " ") is request, "nothing was said"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("<think>Hm, they ask", ""),
        ("<think>Hm.</think>Our hours ", "Our hours "),
        ("It is $5 and ", "It is $5 and "),
    ],
)
def test_thoughts_were_not_said(written: str, said: str) -> None:
    assert said_of(written) == said
