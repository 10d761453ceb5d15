"""Text as Chatterbox Turbo takes it."""

import subprocess
import sys

import pytest
from chatterbox.tts_turbo import punc_norm
from hypothesis import given
from hypothesis import strategies as st

from server.workers.engines.chatterbox.text import normalized, pieces, speech_token_cap
from server.workers.engines.pieces import TAG

PUNCTUATION = st.text(st.sampled_from("aBß \t\n.,:;!?…—–-“”‘’\"'[]3é"), min_size=1)  # noqa: RUF001


@given(st.text(min_size=1) | PUNCTUATION)
def test_punctuation_rules_are_upstreams(text: str) -> None:
    assert normalized(text) == punc_norm(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("We are open today. Come and see us.", ["We are open today.", "Come and see us."]),
        ("Yes. We are open today.", ["Yes. We are open today."]),
        ("We are open today. Yes!", ["We are open today. Yes!"]),
        ("Yes. No. Why?", ["Yes. No. Why?"]),
        ("Hi!", ["Hi! ..."]),
        ("[laugh]", ["[laugh] ..."]),
        ("[laugh] That is funny.", ["[laugh] That is funny."]),
        ("That is funny. [laugh]", ["That is funny. [laugh]"]),
        ("Well, really?! — ... Yes, really.", ["Well, really?!", "Yes, really."]),
        ("", []),
        (" \n ", []),
        ("...", []),
        ("?! 😀 — *", []),
    ],
)
def test_pieces_are_sentences_of_a_sayable_length(text: str, expected: list[str]) -> None:
    assert pieces(text) == expected


SENTENCES = st.lists(
    st.sampled_from(
        ["Yes.", "[laugh]", "[clear throat]", "A sentence of some words.", "x" * 400, "so, " * 120, "?!", "7"]
    )
).map(" ".join)


@given(SENTENCES)
def test_no_piece_is_too_long_or_too_short_and_no_tag_is_lost(text: str) -> None:
    found = pieces(text)

    assert all(len(piece) <= 300 for piece in found)
    assert all(sum(map(str.isalnum, piece)) >= 8 or piece.endswith(" ...") for piece in found)
    assert sum(len(TAG.findall(piece)) for piece in found) == len(TAG.findall(text))


def test_the_token_cap_leaves_room_for_slow_voices_and_stops_rambling() -> None:
    sentence = "Our opening hours are from nine to five, and on Saturdays from ten to two."
    said_in = len(sentence) / 13  # seconds, at a usual pace

    assert 1.5 * said_in * 25 <= speech_token_cap(sentence) <= 3 * said_in * 25
    assert 50 < speech_token_cap("Yes.") < 100
    assert speech_token_cap("Call 555 0123 4567.") > speech_token_cap("Call for the answer.")
    assert speech_token_cap("[laugh] Yes.") > speech_token_cap("Yes.") + 50
    assert speech_token_cap("word " * 60) < 1000
    assert speech_token_cap("9" * 300) == 1000


def test_it_needs_no_torch() -> None:
    code = "import server.workers.engines.chatterbox.text, sys; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
