"""Where a recording pauses, and what it is with a longer pause: by energy alone, on sound whose gaps are known."""

import numpy as np
import pytest

from server.bench.turns.word_gaps import RATE, Pause, joined, natural_pauses, opened, word_gaps
from server.client.playout import last_audible
from tests.support.sounds import quiet, said, word


def test_gaps_between_words_are_found_the_longest_first() -> None:
    gaps = word_gaps(said(0.6, 0.08, 0.4, 0.16, 0.8))
    assert [gap.start for gap in gaps] == pytest.approx([1.08, 0.6], abs=0.025)
    assert [gap.end - gap.start for gap in gaps] == pytest.approx([0.16, 0.08], abs=0.03)


def test_quiet_shorter_than_any_between_words_is_none() -> None:
    assert word_gaps(said(0.6, 0.04, 0.8)) == []


@pytest.mark.parametrize("seconds", [(0.2, 0.1, 1.0), (1.0, 0.1, 0.3)], ids=["start", "end"])
def test_gaps_near_either_end_are_left_alone(seconds: tuple[float, ...]) -> None:
    assert word_gaps(said(*seconds)) == []


def test_silence_around_speech_is_no_gap_and_no_pause() -> None:
    samples = np.concatenate((quiet(1.0), word(1.0), quiet(1.0)))
    assert word_gaps(samples) == []
    assert natural_pauses(samples) == ()


def test_a_recording_full_of_noise_has_no_gaps() -> None:
    noise = np.random.default_rng(3).normal(0.0, 2000.0, 2 * RATE).astype(np.int16)
    assert word_gaps(noise) == []


def test_only_pauses_from_a_fifth_of_a_second_on_are_the_speakers_own() -> None:
    (pause,) = natural_pauses(said(0.5, 0.15, 0.5, 0.4, 0.5))
    assert pause == pytest.approx((1.15, 1.55), abs=0.025)


def test_opening_a_gap_adds_quiet_in_it_and_moves_the_end_by_as_much() -> None:
    samples = said(0.6, 0.1, 0.8)
    hesitant = opened(samples, Pause(0.6, 0.7), 1.2)
    assert len(hesitant) == len(samples) + 1.2 * RATE
    assert last_audible(hesitant) == pytest.approx(last_audible(samples) + 1.2 * RATE, abs=RATE * 0.005)
    (pause,) = natural_pauses(hesitant)
    assert pause == pytest.approx((0.6, 1.9), abs=0.025)


def test_an_opened_gap_is_as_quiet_as_the_recording_and_not_silent() -> None:
    hesitant = opened(said(0.6, 0.1, 0.8), Pause(0.6, 0.7), 1.0)
    inserted = hesitant[round(0.7 * RATE) : round(1.6 * RATE)].astype(float)
    assert 1.0 < np.sqrt(np.mean(inserted**2)) < 5.0


def test_opening_a_gap_leaves_the_recording_itself_as_it_was() -> None:
    samples = said(0.6, 0.1, 0.8)
    before = samples.copy()
    opened(samples, Pause(0.6, 0.7), 0.5)
    assert np.array_equal(samples, before)


def test_joined_words_are_apart_by_the_gap_whatever_silence_they_came_with() -> None:
    padded = np.concatenate((quiet(0.5), word(0.3), quiet(0.7)))
    number, pauses = joined([padded, word(0.3), padded], 0.6)
    assert len(pauses) == 2
    for found, known in zip(natural_pauses(number), pauses, strict=True):
        assert found == pytest.approx(known, abs=0.05)
    assert [end - start for start, end in pauses] == pytest.approx([0.6, 0.6])
    assert len(number) / RATE == pytest.approx(3 * 0.3 + 2 * 0.6, abs=0.2)
