"""The caller's audio buffer. Each second of audio here consists of one value, so that one sees what is held."""

import numpy as np
import pytest

from server.conversation.endpointing import Started, Stopped, TurnDetection
from server.conversation.listener import MAX_SECONDS, Listener


def second(value: int) -> bytes:
    return np.full(16_000, value, "<i2").tobytes()


def values(pcm: bytes) -> list[int]:
    return [int(value) for value in np.unique(np.frombuffer(pcm, "<i2"))]


def listener(seconds: int, turn_detection: TurnDetection | None = None) -> Listener:
    held = Listener(turn_detection)
    for value in range(seconds):
        held.append(second(value))
    return held


def test_audio_is_found_by_its_time() -> None:
    held = listener(5)
    assert held.buffered == 5.0
    assert values(held.audio(1.0, 3.0)) == [1, 2]
    assert len(held.audio(0.25, 0.75)) == 16_000
    assert values(held.audio(4.5, 99.0)) == [4]


def test_times_stay_those_of_the_callers_audio_when_some_was_dropped() -> None:
    held = listener(5)
    held.drop_before(2.5)
    assert held.buffered == 2.5
    assert values(held.audio(0.0, 3.0)) == [2]
    assert values(held.audio(3.0, 4.0)) == [3]
    held.drop_before(1.0)
    assert held.buffered == 2.5


def test_taking_everything_leaves_nothing() -> None:
    held = listener(2)
    assert values(held.take_all()) == [0, 1]
    assert held.buffered == 0.0
    held.append(second(7))
    assert values(held.audio(2.0, 3.0)) == [7]


def test_the_buffer_is_bounded_and_drops_the_oldest() -> None:
    held = listener(MAX_SECONDS + 5)
    assert held.buffered == MAX_SECONDS
    assert values(held.take_all()) == list(range(5, MAX_SECONDS + 5))


def test_many_small_pieces_add_up_exactly() -> None:
    held = Listener(None)
    for _ in range(10):
        held.append(bytes(320))
    assert held.buffered == 0.1


def test_with_turn_detection_off_nothing_is_found_and_everything_kept() -> None:
    held = listener(10)
    assert held.push(9.0, 10.0, 1.0) is None
    assert not held.speaking
    assert held.buffered == 10.0


def test_silence_is_dropped_but_for_what_an_utterance_may_begin_with() -> None:
    held = listener(10, TurnDetection(prefix_padding=0.3))
    held.push(9.0, 10.0, 0.0)
    assert held.buffered == pytest.approx(1.3)


def test_an_utterance_keeps_its_audio() -> None:
    held = listener(10, TurnDetection())
    assert isinstance(held.push(1.0, 2.0, 0.9), Started)
    assert held.speaking
    assert held.push(2.0, 9.0, 0.9) is None
    assert isinstance(held.push(9.0, 10.0, 0.0), Stopped)
    assert values(held.audio(1.0, 9.0)) == list(range(1, 9))


def test_clearing_ends_an_open_utterance_and_what_is_judged_late_is_passed_over() -> None:
    held = listener(3, TurnDetection())
    held.push(1.0, 2.0, 0.9)
    held.clear()
    assert not held.speaking
    assert held.push(2.0, 3.0, 0.9) is None
    assert not held.speaking
    held.append(second(3))
    assert isinstance(held.push(3.0, 4.0, 0.9), Started)


def test_clearing_without_turn_detection() -> None:
    held = listener(3)
    held.clear()
    assert held.buffered == 0.0


def test_new_settings_end_an_open_utterance_only_if_they_are_other_settings() -> None:
    held = listener(3, TurnDetection())
    held.push(1.0, 2.0, 0.9)
    held.configure(TurnDetection())
    assert held.speaking
    held.configure(TurnDetection(silence=0.7))
    assert not held.speaking
    held.push(2.0, 3.0, 0.9)
    assert held.speaking
    held.configure(None)
    assert not held.speaking
    held.configure(TurnDetection())
    assert not held.speaking
    assert values(held.take_all()) == [0, 1, 2]
