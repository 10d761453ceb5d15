"""The caller's loudspeaker: what is audible, when it was heard, when it ran dry."""

import numpy as np
import pytest

from server.audio import Samples
from server.client.playout import AUDIBLE, Playout, first_audible, is_audible, last_audible

RATE = 24_000


def quiet(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE), np.int16)


def loud(seconds: float) -> Samples:
    return np.full(round(seconds * RATE), 5000, np.int16)


def test_audio_is_played_in_the_order_and_at_the_rate_it_was_made() -> None:
    playout = Playout(RATE)
    playout.add(loud(0.5), now=10.0)
    playout.add(loud(1.0), now=10.1)
    assert playout.ends_at == pytest.approx(11.5)
    assert playout.underruns == 0
    assert list(playout.margins) == pytest.approx([0.4])
    assert len(playout.samples) == 1.5 * RATE


def test_it_runs_dry_when_the_next_audio_comes_too_late() -> None:
    playout = Playout(RATE)
    playout.add(loud(0.5), now=10.0)
    playout.add(loud(0.5), now=10.75)
    assert playout.underruns == 1
    assert list(playout.margins) == pytest.approx([-0.25])
    assert playout.ends_at == pytest.approx(11.25)


def test_the_first_audio_is_never_late() -> None:
    playout = Playout(RATE)
    playout.add(loud(0.5), now=1000.0)
    assert playout.underruns == 0
    assert not playout.margins


def test_silence_at_the_start_is_not_heard() -> None:
    playout = Playout(RATE)
    playout.add(quiet(0.3), now=10.0)
    assert playout.first_audible_at is None
    playout.add(loud(0.1), now=10.2)
    playout.add(loud(0.1), now=10.3)
    assert playout.first_audible_at == 10.2


def test_nothing_was_played_of_an_answer_that_never_came() -> None:
    playout = Playout(RATE)
    assert len(playout.samples) == 0
    assert playout.first_audible_at is None
    assert playout.ends_at == 0.0


@pytest.mark.parametrize(
    ("samples", "audible", "first", "last"),
    [
        ([], False, 0, 0),
        ([0, AUDIBLE - 1, 1 - AUDIBLE], False, 3, 0),
        ([0, AUDIBLE, 0], True, 1, 2),
        ([0, -AUDIBLE, 5], True, 1, 2),
        ([-32768, 0], True, 0, 1),  # whose absolute value 16 bits do not hold
    ],
)
def test_what_a_person_would_hear(samples: list[int], audible: bool, first: int, last: int) -> None:
    played = np.array(samples, np.int16)
    assert is_audible(played) is audible
    assert first_audible(played) == first
    assert last_audible(played) == last
