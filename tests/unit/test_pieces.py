"""Text cut for speech engines, and tags on their way from the language model to one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.llm.clauses import ClauseCutter
from server.workers.engines.pieces import TAG, sentence_parts, without_tags

TAGS = ("[laugh]", "[clear throat]", "[sigh]")
WORDS = st.lists(
    st.sampled_from([*TAGS, "so,", "word", "Dr.", "well;", "x" * 60, "yes[laugh]no", "end.", "a", "—", "\n"]),
    max_size=60,
).map(" ".join)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One. Two two.", [["One."], ["Two two."]]),
        ("First a, then b, then c.", [["First a,", "then b,", "then c."]]),
        ("word word word word", [["word word", "word word"]]),
        ("abcdefghijklmno", [["abcdefghij", "klmno"]]),
        ("[clear throat] and so on", [["[clear throat]", "and so on"]]),
        ("", []),
    ],
)
def test_text_is_cut_at_sentences_then_clauses_then_words(text: str, parts: list[list[str]]) -> None:
    assert list(sentence_parts(text, 14 if "[" in text else 10)) == parts


@given(WORDS)
def test_no_part_is_too_long_and_nothing_is_lost(text: str) -> None:
    parts = [part for sentence in sentence_parts(text, 40) for part in sentence]

    assert all(0 < len(part) <= 40 for part in parts)
    assert re.sub(r"\s", "", "".join(parts)) == re.sub(r"\s", "", text)
    assert sum(len(TAG.findall(part)) for part in parts) == len(TAG.findall(text))


def test_tags_are_told_from_other_brackets() -> None:
    assert without_tags("[laugh] That [sic] is [clear throat] funny.") == " That [sic] is  funny."


ANSWERS = [
    ("[laugh] That is funny.", "[laugh] That is funny."),
    ("[laugh]", "[laugh]"),
    ("Sure. [clear throat] Here it is.\n\n- One [sigh]\n- Two", "Sure. [clear throat] Here it is. One [sigh] Two"),
    (
        "I see, and then [clear throat] he went to the house on the hill, where [gasp] nobody lived any more.",
        "I see, and then [clear throat] he went to the house on the hill, where [gasp] nobody lived any more.",
    ),
    ("**[laugh]** Really?", "[laugh] Really?"),
    ("[laugh] See [our page](https://x.org).", "[laugh] See our page."),
]


@pytest.mark.parametrize(("answer", "spoken"), ANSWERS)
@pytest.mark.parametrize("step", [1, 3, 1000])
def test_tags_survive_the_cutting_of_a_streamed_answer(answer: str, spoken: str, step: int) -> None:
    cutter = ClauseCutter()
    deltas = [answer[start : start + step] for start in range(0, len(answer), step)]
    clauses = [clause for delta in deltas for clause in cutter.push(delta)] + cutter.flush()

    assert " ".join(clauses) == spoken
    assert sum(len(TAG.findall(clause)) for clause in clauses) == len(TAG.findall(answer))
