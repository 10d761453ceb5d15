"""What happens to an utterance before it is recognised."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.audio.log_mel import SAMPLE_RATE
from server.workers.engines.utterance import InvalidAudio, cut, decode, is_silence, prepare, window_for


def _noise(seconds: float, dbfs: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 10 ** (dbfs / 20), round(seconds * SAMPLE_RATE))
    return noise.astype(np.float32)


def test_half_a_sample_is_refused_with_what_is_accepted() -> None:
    with pytest.raises(InvalidAudio, match="got 3 bytes"):
        decode(b"\0\0\0")


def test_more_than_five_minutes_are_refused() -> None:
    with pytest.raises(InvalidAudio, match="300 s at most"):
        decode(bytes(301 * SAMPLE_RATE * 2))


def test_pcm_spans_minus_one_to_one() -> None:
    assert decode(b"\x00\x80\x00\x00\xff\x7f").tolist() == [-1.0, 0.0, 32767 / 32768]


@pytest.mark.parametrize(
    ("samples", "silent"),
    [
        (np.zeros(0, np.float32), True),
        (np.zeros(SAMPLE_RATE, np.float32), True),
        (_noise(2.0, -66), True),
        (_noise(0.05, -20), True),
        (_noise(2.0, -50), False),
        (np.concatenate([np.zeros(SAMPLE_RATE, np.float32), _noise(0.1, -40)]), False),
    ],
    ids=["nothing", "digital silence", "line noise", "a click", "a whisper", "a quiet word after silence"],
)
def test_only_what_is_loud_and_long_enough_for_a_word_is_recognised(samples: np.ndarray, silent: bool) -> None:
    assert is_silence(samples) is silent


def test_silence_leaves_nothing_to_recognise() -> None:
    assert prepare(bytes(64_000)) == []


def test_a_long_utterance_is_cut_in_its_pause() -> None:
    speech = _noise(70.0, -20)
    speech[27 * SAMPLE_RATE : 27 * SAMPLE_RATE + 8000] = 0
    speech[54 * SAMPLE_RATE : 54 * SAMPLE_RATE + 8000] = 0
    first, second, third = cut(speech)
    assert 27.0 <= len(first) / SAMPLE_RATE <= 27.5
    assert 54.0 <= (len(first) + len(second)) / SAMPLE_RATE <= 54.5
    assert np.array_equal(np.concatenate([first, second, third]), speech)


@given(st.integers(0, 100 * SAMPLE_RATE))
def test_pieces_fit_into_a_window_and_make_up_the_whole(length: int) -> None:
    pieces = cut(np.ones(length, np.float32))
    assert sum(map(len, pieces)) == length
    assert all(len(piece) <= window_for(piece) * SAMPLE_RATE for piece in pieces)


@pytest.mark.parametrize(("seconds", "window"), [(0.5, 15), (15, 15), (15.1, 20), (20.1, 30), (30, 30)])
def test_the_window_is_the_shortest_that_holds_it(seconds: float, window: int) -> None:
    assert window_for(np.zeros(round(seconds * SAMPLE_RATE), np.float32)) == window
