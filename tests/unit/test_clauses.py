"""How a model's streamed text becomes clauses that can be spoken."""

import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.llm.clauses import ClauseCutter


def cut(*deltas: str) -> list[str]:
    cutter = ClauseCutter()
    clauses = [clause for delta in deltas for clause in cutter.push(delta)]
    return clauses + cutter.flush()


def sentences(text: str) -> list[str]:
    """The clauses after the first, which has rules of its own."""
    return cut("Well then.\n", text)[1:]


# --- when a clause is certain


def test_a_sentence_is_certain_once_the_next_word_begins() -> None:
    cutter = ClauseCutter()
    assert cutter.push("Yes.") == []
    assert cutter.push(" ") == []
    assert cutter.push("W") == ["Yes."]
    assert cutter.push("e are open.") == []
    assert cutter.flush() == ["We are open."]


def test_a_line_end_is_certain_at_once() -> None:
    assert ClauseCutter().push("Our hours\n") == ["Our hours"]


def test_nothing_is_left_after_the_end() -> None:
    cutter = ClauseCutter()
    cutter.push("Hello")
    assert cutter.flush() == ["Hello"]
    assert cutter.flush() == []


# --- the first clause is short


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Sure! I can help with that.", "Sure!"),
        ("Sure, I can help with that today.", "Sure, I can help with that today."),
        ("Of course I can, let me have a look.", "Of course I can,"),
        ("Here it is: the shop opens at nine.", "Here it is:"),
        ("Our shop is open — even on Sundays.", "Our shop is open —"),
        ("Our shop in town is open today because the sun is out.", "Our shop in town is open today"),
        (
            "The large red brick house next door belongs my uncle Bob Brown.",
            "The large red brick house next door belongs my uncle",
        ),
        ("The bill is due at 7 p.m. on 5 May 2024 for 10 apples.",) * 2,
        ("Hello", "Hello"),
    ],
)
def test_the_first_clause_is_short(text: str, first: str) -> None:
    assert cut(text)[0] == first


def test_later_clauses_are_whole_sentences() -> None:
    text = "Yes. Our shop, which is in town, is open, and it stays open until nine, because people like that. Bye."
    assert cut(text) == [
        "Yes.",
        "Our shop, which is in town, is open, and it stays open until nine, because people like that.",
        "Bye.",
    ]


def test_a_very_long_sentence_is_cut_at_a_comma() -> None:
    clauses = sentences(", ".join(["the quick brown fox jumps over the dog"] * 8) + ".")
    assert [len(clause) <= 210 and clause[-1] in ",." for clause in clauses] == [True] * len(clauses)
    assert len(clauses) == 2


def test_a_very_long_sentence_without_commas_is_cut_between_words() -> None:
    clauses = sentences("apples pears plums " * 20)
    assert all(len(clause) <= 210 for clause in clauses)
    assert " ".join(clauses).split() == ("apples pears plums " * 20).split()


# --- what is never split


@pytest.mark.parametrize(
    "sentence",
    [
        "It is 3.14 or 1,250 or $9.99 at 10:30.",
        "We close at 7 p.m. Eastern time.",
        "Call +1 (555) 123-4567 or 0800 12 34 56 now.",
        "The version is 2.0.1 and the next 2.1.",
        "On May 5, 2024, it was sold.",
        "Ask Dr. Smith, Mrs. Jones or St. Mary's Hospital.",
        "Fruit, e.g. Apples, i.e. Malus, grows there.",
        "The U.S. Army and J. R. R. Tolkien met in Washington D.C. Then they left.",
        "She has a Ph.D. Degree and lives at No. 5 or Fig. 3 there.",
        "See approx. five, apples vs. pears, etc. and so on.",
        "Well... let me think… it is on my tongue.",
        "First 1. Open the door 2. Go in.",
        "Write to bob.smith@example.com today.",
        "The file is in example.com/a.b?c=d, I think.",
        "He said (really!) that it works.",
        "Is it Yahoo! or not?",
    ],
)
def test_a_sentence_stays_whole(sentence: str) -> None:
    assert sentences(sentence + " Next one.") == [sentence, "Next one."]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No. I mean it.", ["No.", "I mean it."]),
        ("It was 2019. Then it ended.", ["It was 2019.", "Then it ended."]),
        ('He said "Stop." Then he left.', ['He said "Stop."', "Then he left."]),
        ("Really?! Yes.", ["Really?!", "Yes."]),
        ("Hmm... Yes.", ["Hmm...", "Yes."]),
        ("Is it? (It is.) Good.", ["Is it?", "(It is.)", "Good."]),
        ("One.\tTwo.\r\nThree.", ["One.", "Two.", "Three."]),
        (
            "你好！我可以帮您。今天天气很好，我们出去玩吧？好的",  # noqa: RUF001
            ["你好！", "我可以帮您。", "今天天气很好，我们出去玩吧？", "好的"],  # noqa: RUF001
        ),
        ("「はい。」そうです。", ["「はい。」", "そうです。"]),
        ("नमस्ते। आप कैसे हैं?", ["नमस्ते।", "आप कैसे हैं?"]),
    ],
)
def test_sentences_are_told_apart(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


# --- markdown is not spoken


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (
            "**Bold** and *italic* and `code` and ~~old~~ and __so__ and _on_.",
            ["Bold and italic and code and old and so and on."],
        ),
        ("**All bold. Still bold.** Not bold.", ["All bold.", "Still bold.", "Not bold."]),
        ("5 * 3 and 2*3 and snake_case stay.", ["5 * 3 and 2*3 and snake_case stay."]),
        ("# Hours\nWe open.", ["Hours", "We open."]),
        ("> Quoted\n> - Both", ["Quoted", "Both"]),
        ("- One\n* Two\n+ Three\n  - Four\n- [x] Five", ["One", "Two", "Three", "Four", "Five"]),
        ("1. Open it.\n2. Go in.\n3) Sit.", ["Open it.", "Go in.", "Sit."]),
        ("42. That is the answer.", ["42. That is the answer."]),
        ("See [our site. Really](https://example.com/a_(b)) now.", ["See our site. Really now."]),
        ("![A cat](cat.png) sits.", ["A cat sits."]),
        (
            "Go to https://www.example.com/a/b?c=1. Then <http://x.org> or www.y.net/z!",
            ["Go to example.com.", "Then x.org or y.net!"],
        ),
        ("去https://example.com/a。好", ["去example.com。", "好"]),
        ("```python\nprint(1)\n```\nDone.", ["print(1)", "Done."]),
        ("| Day | Hours |\n|-----|:---:|\n| Mon | 9 to 5 |", ["Day, Hours", "Mon, 9 to 5"]),
        ("Great 🎉🎉! See you 👩‍👩‍👧 soon ❤️.", ["Great!", "See you soon."]),
        ("One\n\n---\n\n***\n\nTwo", ["One", "Two"]),
        ("🎉 !!! ...\n\nYes.", ["Yes."]),
        ("20 °C, ½ and 5 € stay.", ["20 °C, ½ and 5 € stay."]),
    ],
)
def test_markdown_is_not_spoken(written: str, expected: list[str]) -> None:
    assert sentences(written) == expected


def test_a_lone_bracket_does_not_hold_the_answer_up() -> None:
    assert ClauseCutter().push("Well [then. " + "It goes on and on. " * 20) != []


# --- for any text

PIECES = st.sampled_from(
    [
        *"abcXYZ019 \n.,;:!?…'\"()[]*_`#|-—。，「」é",  # noqa: RUF001
        "  ",
        " and ",
        "Dr. ",
        "3.14",
        "p.m. ",
        "1. ",
        "\n- ",
        "**",
        "](",
        "http://",
        "🎉",
    ]
)
ANY_TEXT = st.lists(PIECES, max_size=120).map("".join)
PLAIN_TEXT = st.text(alphabet="abcDEF12 .,;:!?—'", max_size=400).map("So ".__add__)  # "1. " would begin a list


@given(ANY_TEXT, st.lists(st.integers(0, 400), max_size=20))
@example("3.14 is pi. It", [1, 2])
@example("**Yes.** No", [1, 6, 7])
@example("](a Yes. No. [b", [9])
def test_where_the_deltas_were_cut_makes_no_difference(text: str, places: list[int]) -> None:
    ends = sorted({min(place, len(text)) for place in places} | {0, len(text)})
    deltas = [text[start:end] for start, end in pairwise(ends)]
    assert cut(*deltas) == cut(text) == cut(*text)


@given(ANY_TEXT)
def test_every_clause_says_something(text: str) -> None:
    for clause in cut(text):
        assert any(map(str.isalnum, clause))
        assert clause == clause.strip()
        assert "\n" not in clause


@given(PLAIN_TEXT)
def test_no_word_is_lost_added_or_moved(text: str) -> None:
    assert re.findall(r"\w+", " ".join(cut(text))) == re.findall(r"\w+", text)
