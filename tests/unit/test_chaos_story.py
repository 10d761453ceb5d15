"""What the chaos run takes for a history that is not what was heard, and for an answer that was said twice."""

from typing import Any

import numpy as np
import pytest

from server.client.caller import Speech
from server.llm.chat_completions import request_body
from server.llm.interface import AssistantText, ChatMessage, ChatRequest, SystemText, UserText
from server.spoken_lines import BUNDLED
from tests.bench.chaos.callers import Talker, said_twice
from tests.bench.chaos.story import KEYWORD, Story, whole

ASKED = {"caller 1": 3}
LINE = next(iter(BUNDLED["en"].values()))


def history(*said: tuple[str, ...], asides: tuple[SystemText, ...] = ()) -> dict[str, Any]:
    """A request after turns to each of which the assistant said these messages."""
    messages: list[ChatMessage] = []
    for number, texts in enumerate(said):
        messages += [UserText(f"question {number} about {KEYWORD}"), *map(AssistantText, texts)]
    return request_body("first", ChatRequest("caller 1", [*messages, *asides]))


def going_on(*said: tuple[str, ...]) -> dict[str, Any]:
    """The same, with the request to go on."""
    return history(*said, asides=(SystemText("Say the rest of it."),))


def test_each_turn_has_an_answer_of_its_own() -> None:
    story = Story()
    assert story.answer(history(())) == whole(1)
    assert story.answer(history((whole(1),), ())) == whole(2) != whole(1)
    assert [*story.faults, *story.wrong(ASKED)] == []


def test_asked_to_go_on_it_says_the_rest() -> None:
    story = Story()
    rest = story.answer(going_on(("This is answer",)))
    assert f"This is answer {rest}" == whole(1)
    assert story.answer(history(("This is answer", rest), ())) == whole(2)
    assert story.answer(going_on((whole(1),))) == "That is all."
    assert story.answer(history((whole(1), "That is all."), ())) == whole(2)
    assert [*story.faults, *story.wrong(ASKED)] == []


@pytest.mark.parametrize("said", ["This is is answer", "is answer one.", "That is all."])
def test_a_lost_or_repeated_word_is_a_fault(said: str) -> None:
    story = Story()
    assert story.answer(going_on((said,))) == whole(1)
    assert story.faults == [f"of answer 1 was heard: {said}"]


def test_an_answer_that_another_turn_has_followed_has_to_be_whole() -> None:
    story = Story()
    story.answer(history(("This is answer one.",), ()))
    assert list(story.wrong(ASKED)) == ["caller 1: answer 1 has become: This is answer one."]


def test_a_question_is_heard_once_and_whole() -> None:
    story = Story()
    request = history((whole(1),), ())
    request["messages"][-1]["content"] = "question"
    story.answer(request)
    assert list(story.wrong(ASKED)) == ["caller 1: of question 2 was heard: question"]
    request["messages"][-1]["content"] = f"{KEYWORD}? {KEYWORD}?"
    assert list(story.wrong(ASKED)) == [f"caller 1: of question 2 was heard: {KEYWORD}? {KEYWORD}?"]


def test_where_the_connection_was_lost_the_last_sentence_may_be_missing_and_no_more() -> None:
    story = Story()
    story.answer(history(("This is answer one. It goes on with one.",), ()))
    assert list(story.wrong(ASKED, [("caller 1", 1)])) == []
    assert len(list(story.wrong(ASKED, [("caller 1", 2)]))) == 1
    story.answer(history(("This is answer one.",), ()))
    assert len(list(story.wrong(ASKED, [("caller 1", 1)]))) == 1


def test_no_more_questions_are_heard_than_were_asked() -> None:
    story = Story()
    story.answer(history((whole(1),), ()))
    assert list(story.wrong({"caller 1": 1})) == ["caller 1 asked 1 questions, and 2 were heard"]


def test_a_line_stands_for_what_could_not_be_said() -> None:
    story = Story()
    story.answer(history(("This is", LINE), ()))
    assert [*story.faults, *story.wrong(ASKED)] == []


def test_an_answer_that_is_longer_to_hear_than_on_other_calls_was_said_twice() -> None:
    talkers = [Talker("", f"caller {number}", Speech(np.zeros(0, np.int16))) for number in range(4)]
    for talker in talkers:
        talker.whole = [(1, 3.0), (2, 3.3)]
    assert list(said_twice(talkers)) == []
    talkers[2].whole[1] = (2, 4.2)
    assert list(said_twice(talkers)) == ["caller 2: of answer 2 were heard 4.2 s, and 3.3 s are usual"]
