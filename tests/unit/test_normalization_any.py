"""What holds for any text: prose stays, no digit is left, nothing is done twice, and the work is bounded."""

import re
import time
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.normalization.english import spoken_form
from server.normalization.scripts import in_latin

PROSE = [
    "Sure, I can help with that today.",
    "I'm sorry, I didn't quite catch that. Could you say it again?",
    "We're open — even on Sundays.",
    "Well... let me think… it is on my tongue.",
    'She said "Stop!" and he left.',
    "“It’s fine,” he said – really.",  # noqa: RUF001
    "A.I. is changing the U.S. and the U.K., e.g. in Washington D.C.",
    "[laugh] That's funny. [clear throat] Sorry.",
    "Café Zoë serves naïve crème brûlée in São Paulo.",
    "Mr. Smith, Mrs. Jones and Dr. Ray live on St. Mary's Road.",
    "I think (really!) that it works; doesn't it?",
    "The CEO of NASA and the FBI met at the UN.",
    "The quick-witted, well-known, twenty-one-year-old author.",
    "It's a win-win, and/or either/or.",
    "I've a B.A. and a Ph.D. from M.I.T.",
    "Vitamin C, plan B and the X factor.",
    "Elizabeth I think is here, and part I liked most.",
    "I may go on Sunday, and in March we march.",
    "Rock 'n' roll isn't dead.",
    "We open at nine a.m. and close at five p.m.",
    "Your code is zero zero four two, B A, two four nine zero.",
    "No. I mean it.",
    "  Two  spaces\tand a tab.\n",
    "C'est la vie.",
    "",
]
PIECES = st.sampled_from(
    [
        *"01259 .,:;/-+$€%°'\"()#@&=²½^~<>xvAaskmMΩμé你ж\u0661\n\0\u200f\u0301\ud800",
        *("–", "—", "−", "’"),  # noqa: RUF001
        *(" PIN ", " code is ", " order ", "call ", "flight ", "gate ", "ext. ", "No. ", "#", "MA ", "the ", " and "),
        *("am", " p.m.", " km", "km/h", " in ", "°C", " Nov ", "May ", "Mon", "st", "th of ", "USD", " million", "UTC"),
        *("http://", "example.com", "@x.org", ".co", "Henry ", "VIII", "Part ", "X7K9", "AB-", "0800", "+1", "(617)"),
        *("2026", "1990s", "'90s", "1,234", "3.14", "1/2", "Q&A", " Main Street", "401(k)", "Text YES to "),
    ]
)
ANY_TEXT = st.lists(PIECES, max_size=16).map("".join) | st.text(max_size=60)


@pytest.mark.parametrize("text", PROSE)
def test_prose_stays_as_it_is(text: str) -> None:
    assert spoken_form(text) == text


@given(ANY_TEXT)
@example("@example.com0")
@example("Ω§0")
@example("%\u030d")
@example("0Mon Nov X")
def test_no_digit_is_left_and_nothing_is_spoken_twice(text: str) -> None:
    spoken = spoken_form(text)
    assert not re.search("[0-9]", spoken)
    assert spoken_form(spoken) == spoken
    assert in_latin(in_latin(text)) == in_latin(text)
    assert len(spoken) <= 40 * len(text)


def test_of_an_endless_number_only_the_beginning_is_read() -> None:
    assert spoken_form("7" * 3000).endswith("seven, and so on")
    assert len(spoken_form("7" * 3000)) < 300
    assert len(spoken_form("0." + "7" * 3000)) < 300
    assert len(spoken_form("The code is " + "A7" * 1000)) < 12_000


@pytest.mark.parametrize("size", [4_000, 65_536])
def test_the_work_is_bounded(size: int) -> None:
    """Of each pair some 0.05 s; a rule that goes back and forth over the text would take minutes."""
    started = time.monotonic()
    for pair in product("1a .-:/½你\u0661", "1A0,@&"):
        spoken_form("".join(pair) * (size // 2))
    assert time.monotonic() - started < 30
