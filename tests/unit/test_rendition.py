"""What is known of how a clause was said, and what a worker may say of it."""

import pytest

from server.workers.clause_audio import ImpossibleAudio
from server.workers.rendition import Rendition
from server.workers.speech_pb2 import Progress


def test_of_each_piece_the_latest_is_kept_and_one_goes_on_from_the_piece_that_was_heard_last() -> None:
    rendition = Rendition()
    assert rendition.at(500) == Progress()
    rendition.take(Progress(piece=0, tokens=[1, 2]), samples=0)
    rendition.take(Progress(piece=0, tokens=[1, 2, 3]), samples=100)
    last = Progress(piece=1, samples=200, tokens=[4])
    rendition.take(last, samples=200)
    assert rendition.at(199) == Progress(piece=0, tokens=[1, 2, 3])
    assert rendition.at(200) == rendition.at(10_000) == last


def test_a_piece_that_is_said_anew_ends_what_was_known_of_those_after_it() -> None:
    rendition = Rendition()
    rendition.take(Progress(piece=0, tokens=[1]), samples=0)
    rendition.take(Progress(piece=1, samples=200, tokens=[4]), samples=200)
    rendition.take(Progress(piece=0, tokens=[1, 2]), samples=50)
    assert rendition.at(10_000) == Progress(piece=0, tokens=[1, 2])


@pytest.mark.parametrize("begins", [99, 501])
def test_no_piece_begins_before_the_one_before_it_nor_after_what_came(begins: int) -> None:
    rendition = Rendition()
    rendition.take(Progress(piece=1, samples=100), samples=100)
    with pytest.raises(ImpossibleAudio, match=f"got a piece that begins after {begins} samples; takes 100 to 500"):
        rendition.take(Progress(piece=2, samples=begins), samples=500)


def test_no_clause_has_endless_tokens() -> None:
    rendition, most = Rendition(), [1] * 5000
    for piece in range(2):
        rendition.take(Progress(piece=piece, tokens=most), samples=0)
    rendition.take(Progress(piece=1, tokens=most), samples=0)  # which takes the place of what was known of it
    with pytest.raises(ImpossibleAudio, match="got more than 10000 tokens for a clause"):
        rendition.take(Progress(piece=2, tokens=[1]), samples=0)
