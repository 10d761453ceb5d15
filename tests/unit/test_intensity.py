"""By how much a voice has fallen at the end of what it said."""

from collections.abc import Sequence

import pytest

from server.conversation.intensity import Intensity

VOWEL, SOFT, ROOM = -20.0, -26.0, -60.0


def fall(levels: Sequence[float], room: float = ROOM) -> float | None:
    """Of a turn with frames of these levels, in a room that is as loud as that."""
    intensity = Intensity()
    for level in [room] * 10:
        intensity.frame(level, voiced=False)
    for level in levels:
        intensity.frame(level, voiced=True)
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


def test_a_room_after_the_voice_is_not_the_voice_however_loud_it_is() -> None:
    assert fall([VOWEL] * 30 + [VOWEL - 19.0] * 4, room=VOWEL - 24.0) == pytest.approx(0.0)


def test_who_speaks_before_the_room_was_ever_heard_is_measured_too() -> None:
    intensity = Intensity()
    for level in [VOWEL] * 30 + [SOFT] * 6:
        intensity.frame(level, voiced=True)
    assert intensity.fall == pytest.approx(5.4, abs=0.1)


def test_in_noise_nothing_can_be_said() -> None:
    assert fall([VOWEL] * 30 + [SOFT] * 6, room=VOWEL - 19.0) is None


def test_a_room_that_becomes_louder_is_known_after_some_seconds() -> None:
    intensity = Intensity()
    for _ in range(10):
        intensity.frame(ROOM, voiced=False)
    for _ in range(900):
        intensity.frame(VOWEL - 10.0, voiced=False)
    for _ in range(30):
        intensity.frame(VOWEL, voiced=True)
    assert intensity.fall is None


def test_a_television_before_the_caller_speaks_is_not_their_voice() -> None:
    assert fall([VOWEL - 21.0] * 90 + [VOWEL] * 30) == pytest.approx(0.0)


def test_another_turn_begins_anew() -> None:
    intensity = Intensity()
    for _ in range(30):
        intensity.frame(VOWEL, voiced=True)
    intensity.clear()
    assert intensity.fall is None
