"""A recording is cut at its silences, never inside a word where there is one, and nothing that is spoken is lost."""

from hypothesis import given
from hypothesis import strategies as st

from server.audio.utterances import FRAME_SECONDS, LONGEST_SECONDS, Utterance, UtteranceCutter

MARGIN = 0.32


def cut(*parts: tuple[float, float]) -> list[Utterance]:
    """The utterances of a recording of parts: seconds, and how likely they are speech."""
    cutter, found = UtteranceCutter(), []
    for seconds, probability in parts:
        found += [cutter.push(b"f", probability) for _ in range(round(seconds / FRAME_SECONDS))]
    return [utterance for utterance in (*found, cutter.finish()) if utterance]


def test_silence_has_no_utterance() -> None:
    assert cut((60.0, 0.1)) == []


def test_speech_is_found_with_a_margin_on_either_side() -> None:
    [utterance] = cut((4.0, 0.1), (1.6, 0.9), (4.0, 0.1))
    assert abs(utterance.start - (4.0 - MARGIN)) < 0.05
    assert abs(utterance.end - (5.6 + MARGIN)) < 0.05


def test_a_recording_that_is_all_speech_begins_and_ends_with_it() -> None:
    assert [(one.start, one.end) for one in cut((1.6, 0.9))] == [(0.0, 1.6)]


def test_short_sentences_are_recognised_together() -> None:
    assert len(cut((3.2, 0.9), (0.96, 0.1), (3.2, 0.9), (0.96, 0.1))) == 1


def test_a_long_silence_parts_utterances_however_short_they_are() -> None:
    assert len(cut((0.96, 0.9), (2.56, 0.1), (0.96, 0.9))) == 2


def test_a_long_utterance_ends_at_a_short_silence() -> None:
    assert len(cut((12.8, 0.9), (0.64, 0.1), (12.8, 0.9))) == 2


def test_speech_without_a_pause_is_cut_where_it_is_least_likely_speech() -> None:
    first, second = cut((25.6, 0.9), (0.032, 0.6), (9.6, 0.9))
    assert abs(first.end - 25.632) < 0.05
    assert first.end == second.start


@given(st.lists(st.tuples(st.floats(0.1, 40.0), st.sampled_from([0.0, 0.3, 0.6, 1.0])), max_size=8))
def test_no_speech_is_lost_said_twice_or_longer_than_the_recogniser_takes(parts: list[tuple[float, float]]) -> None:
    covered: set[int] = set()
    speech: set[int] = set()
    at = 0
    for seconds, probability in parts:
        frames = round(seconds / FRAME_SECONDS)
        speech |= set(range(at, at + frames)) if probability >= 0.5 else set()
        at += frames
    for utterance in cut(*parts):
        first, end = round(utterance.start / FRAME_SECONDS), round(utterance.end / FRAME_SECONDS)
        assert len(utterance.pcm) == end - first
        assert utterance.end - utterance.start <= LONGEST_SECONDS + FRAME_SECONDS
        assert covered.isdisjoint(range(first, end))
        covered |= set(range(first, end))
    assert speech <= covered
