"""Characters that a stream cut in two."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.llm.characters import CharacterJoiner


def joined(*texts: str) -> str:
    joiner = CharacterJoiner()
    return "".join([*(joiner.push(text) for text in texts), joiner.flush()])


@pytest.mark.parametrize(
    ("texts", "whole"),
    [
        (("Hi \ud83d", "\ude00!"), "Hi \N{GRINNING FACE}!"),
        (("\ud83d", "", "\ude00"), "\N{GRINNING FACE}"),
        (("\udcf0\udc9f", "\udc98", "\udc80 yes"), "\N{GRINNING FACE} yes"),
        (("caf\udcc3", "\udca9"), "café"),
        (("\ud83d", "so"), "\N{REPLACEMENT CHARACTER}so"),
        (("so \ud83d",), "so \N{REPLACEMENT CHARACTER}"),
        (("\ude00 so",), "\N{REPLACEMENT CHARACTER} so"),
        (("plain", " text"), "plain text"),
    ],
)
def test_halves_find_each_other_and_a_lone_one_is_replaced(texts: tuple[str, ...], whole: str) -> None:
    """rakazo#416: an emoji whose two halves come in two chunks."""
    assert joined(*texts) == whole


@given(st.text(max_size=20), st.integers(0, 60))
def test_a_text_cut_anywhere_in_its_bytes_is_whole(text: str, cut: int) -> None:
    encoded = text.encode()
    first, second = (part.decode(errors="surrogateescape") for part in (encoded[:cut], encoded[cut:]))
    assert joined(first, second) == text


@given(st.lists(st.text(st.characters(), max_size=4), max_size=6))
def test_whatever_comes_out_can_be_encoded(texts: list[str]) -> None:
    joined(*texts).encode()


@given(st.text(max_size=10), st.integers(0, 20))
def test_a_text_cut_anywhere_in_its_utf_16_is_whole(text: str, cut: int) -> None:
    units = text.encode("utf-16-le", "surrogatepass")
    parts = [units[: 2 * cut], units[2 * cut :]]
    assert joined(*(part.decode("utf-16-le", "surrogatepass") for part in parts)) == text
