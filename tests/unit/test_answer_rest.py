"""What is said again, and from where, of an answer that was broken off."""

from typing import cast

import pytest

from server.answer_rest import Said, unheard
from server.conversation.commands import GoesOn
from server.speech_ahead import SpeechAhead
from server.thinking import Clause, Rest
from server.workers.rendition import Rendition

_RENDITION = Rendition()


def _clause(text: str, voiced: str = "", skipped: float = 0.0) -> Clause:
    return Clause(text, cast(SpeechAhead, None), voiced or text, _RENDITION, skipped)  # its audio is nobody's business


_SAID = [Said(_clause("We are open."), 0.0), Said(_clause("Come in soon."), 1.2), Said(_clause("Bye."), 2.4)]


@pytest.mark.parametrize(
    ("heard", "kept", "rest"),
    [
        (0.0, "", [("We are open.", 0.0), ("Come in soon.", 0.0), ("Bye.", 0.0)]),
        (0.5, "We are", [("open.", 0.5), ("Come in soon.", 0.0), ("Bye.", 0.0)]),
        (1.1, "We are open.", [("Come in soon.", 0.0), ("Bye.", 0.0)]),  # what is left of the first is a breath
        (1.2, "We are open.", [("Come in soon.", 0.0), ("Bye.", 0.0)]),
        (2.0, "We are open. Come in", [("soon.", 0.8), ("Bye.", 0.0)]),
        (2.6, "We are open. Come in soon.", [("Bye.", 0.2)]),
        (9.0, "We are open. Come in soon. Bye.", []),
    ],
)
def test_the_rest(heard: float, kept: str, rest: list[tuple[str, float]]) -> None:
    left = unheard(_SAID, GoesOn("resp", heard, kept))
    assert [(one.text, round(one.skipped, 3)) for one in left] == rest


def test_what_is_a_rest_already_goes_on_where_that_was_broken_off() -> None:
    said = [Said(_clause("in soon.", voiced="Come in soon.", skipped=0.4), 0.0)]
    assert list(unheard(said, GoesOn("resp", 0.25, "in"))) == [Rest("soon.", "Come in soon.", _RENDITION, 0.65)]
