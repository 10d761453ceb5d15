"""What a model writes is read, cleaned and cut in time that grows with its length and no faster, whatever it is.

Times are counted in plain looks at each character of such a text, by the same thread at the same moment: a busy or a
slow machine is no failure. What went back and forth over its text took from seconds to hours for each of these.
"""

import string
import time
from collections.abc import Callable
from functools import partial
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.llm.clauses import ClauseCutter
from server.llm.markdown import spoken, without_block_marker
from server.llm.output_filter import OutputFilter

SIZE = 65_536
BLANKS = " " * SIZE
# How many looks at each character a work may take: over twice what it does, a hundredth of going back and forth.
LOOKS = 200  # the cutter with its reader of markdown: most take 10 to 60, a clause at every second character 90
FILTER_LOOKS = 300  # the filter before them: it decides at each of up to 32,768 marks what it is
LOOKS_BY_CHARACTER = 500  # 65,536 calls, and a look at each character as it comes
CHARACTERS = [*string.printable, *"é你。，🎉½\u00a0\u3010\u25c1\ue200\ud800"]  # noqa: RUF001
PAIRS = ["".join(pair) for pair in product("a .[<$", " a\n.[](<*`_~|\\$&#1-@。") if len(set(pair)) == 2]
MARKS = [
    "![](",
    "http://",
    "www.a.",
    "a@",
    "\\frac{",
    "\\text{a} ",
    "<a b=",
    "</think>",
    "<think>a",
    "<!-- ",
    "&#1;",
    "1. ",
]
OPENINGS = ["```", "[a](", "(((", "\\(x", "$$a", "{}", "~~", ">>", "A.", "🎉 ", "| ", "a, ", "! ", "\ue200a", "- [x] "]


def cut(text: str, size: int) -> list[str]:
    cutter = ClauseCutter()
    clauses = [clause for at in range(0, len(text), size) for clause in cutter.push(text[at : at + size])]
    return clauses + cutter.flush()


def filtered(text: str, size: int) -> str:
    output = OutputFilter()
    return "".join(output.push(text[at : at + size]) for at in range(0, len(text), size)) + output.flush()


def repeated(pattern: str) -> str:
    return (pattern * SIZE)[:SIZE]


def look() -> int:
    blanks = 0
    for character in BLANKS:
        if character == " ":
            blanks += 1
    return blanks


def seconds_of(work: Callable[[], object]) -> float:
    started = time.thread_time()
    work()
    return time.thread_time() - started


def within(looks: int, work: Callable[[], object]) -> bool:
    """Whether `work` can be done in the time of so many looks; both are tried anew while it seems not."""
    return any(seconds_of(work) < looks * max(seconds_of(look) for _ in range(2)) for _ in range(8))


@pytest.mark.parametrize("patterns", [CHARACTERS, PAIRS, MARKS + OPENINGS], ids=["characters", "pairs", "marks"])
@pytest.mark.parametrize(("work", "looks"), [(cut, LOOKS), (filtered, FILTER_LOOKS)])
def test_any_text_is_read_in_linear_time(work: Callable[[str, int], object], looks: int, patterns: list[str]) -> None:
    for pattern in patterns:
        text = repeated(pattern)
        assert within(looks, partial(work, text, 4096)), pattern


@pytest.mark.parametrize(("work", "looks"), [(cut, LOOKS), (filtered, FILTER_LOOKS)])
@pytest.mark.parametrize(
    "pattern", ["a", " ", "\n", "a ", "[", "(", "*", "`", "<", "&", "$", "\\", "|", "a。", "\\(", "<a"]
)
def test_any_text_is_read_in_linear_time_wherever_it_is_cut(
    work: Callable[[str, int], object], looks: int, pattern: str
) -> None:
    text = repeated(pattern)
    assert within(looks, lambda: work(text, 7))
    assert within(LOOKS_BY_CHARACTER, lambda: work(text, 1))


@settings(max_examples=15)
@given(st.text(st.sampled_from(string.printable + "é。🎉"), min_size=1, max_size=3), st.sampled_from([3, 64, SIZE]))
def test_no_short_text_that_repeats_is_slow(pattern: str, size: int) -> None:
    text = repeated(pattern)
    assert within(LOOKS + FILTER_LOOKS, lambda: cut(filtered(text, size), size))


@pytest.mark.parametrize("pattern", [*CHARACTERS, *MARKS, *OPENINGS, "[](x)", "http://a.", "a|", "🎉a"])
def test_markdown_is_read_in_linear_time(pattern: str) -> None:
    text = repeated(pattern)
    assert within(LOOKS, lambda: (spoken(text), without_block_marker(text, 0)))


@pytest.mark.parametrize("size", [1, 7, 4096])
@pytest.mark.parametrize("blanks", [" ", "\t", "\n", " \n", "\u00a0", "\u2003 "])
def test_blanks_are_not_spoken(blanks: str, size: int) -> None:
    assert cut(filtered(repeated(blanks), size), size) == []
    assert cut("One." + blanks * 5000 + "Two.", size) == ["One.", "Two."]


@pytest.mark.parametrize("size", [1, 7, 4096])
@pytest.mark.parametrize("pattern", ["a", "a ", "the ", "你", "[a ", "a(", "x, ", "1.", "a]( "])
def test_text_without_an_end_is_cut_into_clauses_of_bounded_length(pattern: str, size: int) -> None:
    clauses = cut(pattern * 2000, size)
    assert max(map(len, clauses)) <= 300
    assert len(clauses) >= len(pattern.strip()) * 2000 // 300
    assert cut(pattern * 2000, SIZE) == clauses


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_of_a_long_web_address_only_the_host_is_spoken(size: int) -> None:
    address = "https://files.example.com/a?signature=" + "0aF" * 400
    assert cut(f"Well.\nIt is at {address}. Then [go there]({address}), please.", size) == [
        "Well.",
        "It is at files.example.com.",
        "Then go there,",
        "please.",
    ]
