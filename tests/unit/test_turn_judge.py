"""What the judge of a turn's end makes of the evidence."""

import pytest

from server.conversation.turn_judge import TurnJudge


@pytest.mark.parametrize(
    ("words", "early", "reason"),
    [
        ("Press 1.", "", "finished"),
        ("Press 1.", "press 1", "finished"),
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
