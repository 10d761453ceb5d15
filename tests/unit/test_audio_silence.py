"""Silence around speech is cut from a stream, and nothing else is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from server.audio.silence import SilenceTrimmer

RATE = 24_000
MS = RATE // 1000


def noise(milliseconds: float, dbfs: float) -> NDArray[np.float32]:
    generator = np.random.default_rng(int(milliseconds))
    return (generator.normal(size=round(milliseconds * MS)) * 10 ** (dbfs / 20)).astype(np.float32)


def trimmed(samples: NDArray[np.float32], chunks: list[int], hold: float = 0.6) -> NDArray[np.float32]:
    trimmer = SilenceTrimmer(RATE, -50.0, hold)
    parts = [trimmer.push(part) for part in np.split(samples, np.cumsum(chunks))]
    return np.concatenate([*parts, trimmer.finish()])


SPEECH = noise(300, -20)


def test_silence_and_hiss_at_both_ends_go_but_for_a_margin() -> None:
    stream = np.concatenate([noise(300, -90), SPEECH, noise(400, -60)])

    result = trimmed(stream, [])

    assert len(result) == (15 + 300 + 15) * MS
    assert np.array_equal(result[15 * MS : -15 * MS], SPEECH)


def test_both_ends_are_faded() -> None:
    result = trimmed(SPEECH, [])

    assert len(result) == len(SPEECH)
    assert result[0] == result[-1] == 0
    assert np.array_equal(result[5 * MS : -5 * MS], SPEECH[5 * MS : -5 * MS])


def test_a_pause_between_words_is_passed_on_unchanged() -> None:
    stream = np.concatenate([SPEECH, noise(550, -65), SPEECH])

    assert np.array_equal(trimmed(stream, [])[5 * MS : -5 * MS], stream[5 * MS : -5 * MS])


@pytest.mark.parametrize("stream", [np.zeros(0, np.float32), noise(2000, -60)], ids=["empty", "hiss"])
def test_nothing_is_left_of_what_nobody_hears(stream: NDArray[np.float32]) -> None:
    assert len(trimmed(stream, [])) == 0


def test_quiet_is_held_back_for_no_longer_than_agreed() -> None:
    trimmer = SilenceTrimmer(RATE, -50.0, hold=0.2)
    trimmer.push(SPEECH)

    assert len(trimmer.push(noise(150, -70))) == 0
    assert len(trimmer.push(noise(1000, -70))) == (150 + 1000 - 200 + 5) * MS
    assert len(trimmer.finish()) == 15 * MS


def test_sound_lags_by_one_frame() -> None:
    trimmer = SilenceTrimmer(RATE, -50.0)

    assert len(trimmer.push(SPEECH)) == len(SPEECH) - 5 * MS


def test_it_holds_no_more_than_its_bound_however_long_the_silence_before() -> None:
    trimmer = SilenceTrimmer(RATE, -50.0)
    for _ in range(100):
        assert len(trimmer.push(noise(100, -80))) == 0

    assert len(trimmer.push(SPEECH)) + len(trimmer.finish()) == (15 + 300) * MS


@given(
    st.lists(st.tuples(st.integers(1, 700), st.sampled_from([-90.0, -62.0, -48.0, -20.0])), max_size=6),
    st.lists(st.integers(0, 9000), max_size=20),
    st.sampled_from([0.0, 0.05, 0.6, 5.0]),
)
def test_the_result_does_not_depend_on_the_chunks(
    spans: list[tuple[int, float]], chunks: list[int], hold: float
) -> None:
    stream = np.concatenate([np.zeros(7, np.float32), *(noise(*span) for span in spans)])

    assert np.array_equal(trimmed(stream, chunks, hold), trimmed(stream, [], hold))
