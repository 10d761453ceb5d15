"""What the judge of a turn's end makes of the evidence."""

import pytest

from server.conversation.turn_judge import TurnJudge


@pytest.mark.parametrize(
    ("words", "early", "reason"),
    [
        ("Press 1 to hear it again.", "", "finished"),
        ("Press 1 to hear it again.", "press 1 to hear", "finished"),
        ("Press 1.", "press 1 to", "unfinished"),
        ("press 1 to", "Press 1.", "unfinished"),
        ("", "press 1 to", "no_words"),
    ],
)
def test_a_sentence_that_one_of_two_passes_heard_to_be_left_open_is(words: str, early: str, reason: str) -> None:
    judge = TurnJudge("medium")
    judge.paused("", "en")
    judge.heard(words, early)
    judge.judged(0.95)
    assert judge.patience is not None
    assert judge.patience.reason == reason


def test_a_few_words_that_nothing_was_asked_before_are_likely_the_beginning_of_more() -> None:
    judge = TurnJudge("medium")
    waits = {}
    for asked in ("I see.", "What is the matter?"):
        judge.paused(asked, "en")
        judge.heard("The blind man.", "")
        judge.judged(0.95)
        assert judge.patience is not None
        waits[asked] = judge.patience
    assert waits["I see."].seconds > 1.0
    assert waits["What is the matter?"].reason == "finished"
