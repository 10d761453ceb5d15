"""By how much a voice has fallen at the end of what it said."""

from collections.abc import Sequence

import pytest

from server.conversation.intensity import Intensity

VOWEL, SOFT, ROOM = -20.0, -26.0, -60.0


def fall(levels: Sequence[float]) -> float | None:
    """Of a turn with frames of these levels."""
    intensity = Intensity()
    for level in levels:
        intensity.frame(level)
    return intensity.fall


def test_a_voice_that_goes_on_as_loud_has_not_fallen() -> None:
    assert fall([VOWEL] * 30) == pytest.approx(0.0)


def test_a_softer_last_syllable_is_a_fall() -> None:
    assert fall([VOWEL] * 30 + [SOFT] * 6) == pytest.approx(5.4, abs=0.1)


def test_a_softer_syllable_in_the_middle_is_none() -> None:
    assert fall([VOWEL] * 15 + [SOFT] * 6 + [VOWEL] * 6) == pytest.approx(-0.8, abs=0.1)


def test_of_half_a_second_nothing_can_be_said() -> None:
    assert fall([VOWEL] * 15) is None
    assert fall([VOWEL] * 16) is not None


def test_what_a_voice_detector_hears_after_the_voice_is_not_the_voice() -> None:
    assert fall([VOWEL] * 30 + [ROOM] * 4) == pytest.approx(0.0)


def test_a_caller_who_speaks_more_softly_since_is_heard() -> None:
    quieter = VOWEL - 19.0
    assert fall([VOWEL] * 30 + [quieter] * 60) == pytest.approx(14.3, abs=0.1)


def test_a_television_before_the_caller_speaks_is_not_their_voice() -> None:
    assert fall([VOWEL - 21.0] * 90 + [VOWEL] * 30) == pytest.approx(0.0)


def test_another_turn_begins_anew() -> None:
    intensity = Intensity()
    for _ in range(30):
        intensity.frame(VOWEL)
    intensity.clear()
    assert intensity.fall is None
