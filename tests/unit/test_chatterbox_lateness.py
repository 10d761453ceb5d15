"""When a stream's audio is late: held against what the caller's playout needs, and against when it was asked for."""

import pytest

from server.workers.engine import FIRST_AUDIO_SECONDS
from server.workers.engines.chatterbox.stream import Stream

ASKED = 100.0


@pytest.mark.parametrize(
    ("needed_in", "comes_after", "late"),
    [
        (0.0, 0.4, False),  # the caller waits, and not for long
        (0.0, 0.6, True),
        (2.0, 1.9, False),  # the caller still hears what went before
        (2.0, 2.1, True),
        (0.1, 0.4, False),  # so short a time is nobody's fault but who asked
        (0.1, 0.6, True),
    ],
)
def test_first_audio(needed_in: float, comes_after: float, late: bool) -> None:
    stream = Stream.new(ASKED, 100, needed_in)
    assert stream.heard(1.0, ASKED + comes_after) is late


def test_silence_at_the_start_is_no_audio() -> None:
    stream = Stream.new(ASKED, 100)
    assert not stream.heard(0.0, ASKED + 9.0)
    assert stream.heard(1.0, ASKED + 9.0)


@pytest.mark.parametrize("needed_in", [0.0, 2.0])
def test_after_it_every_gap_is_late(needed_in: float) -> None:
    stream = Stream.new(ASKED, 100, needed_in)
    assert not stream.heard(0.1, ASKED + 0.1)
    ends_at = ASKED + (needed_in or 0.1) + 0.1
    assert stream.due == pytest.approx(ends_at)
    assert not stream.heard(0.1, ends_at - 0.01)
    assert stream.heard(0.1, ends_at + 0.11)


def test_one_that_is_needed_later_does_not_count_as_waiting_for_first_audio() -> None:
    assert not Stream.new(ASKED, 100).started
    early = Stream.new(ASKED, 100, needed_in=3.0)
    assert (early.started, early.due) == (True, ASKED + 3.0)
    assert Stream.new(ASKED, 100, needed_in=0.01).due > ASKED + 0.1, "nothing is made in no time"
    assert early.late_after == ASKED + FIRST_AUDIO_SECONDS
