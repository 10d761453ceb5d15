"""The rule by which voice-activity probabilities become utterances. Frames last 32 ms."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.conversation.endpointing import (
    Endpoint,
    Endpointer,
    Paused,
    Resumed,
    Started,
    Stopped,
    TurnDetection,
)

_FRAME = 0.032


def endpoints(probabilities: Iterable[float], settings: TurnDetection | None = None) -> list[Endpoint]:
    endpointer = Endpointer(settings or TurnDetection())
    found = (endpointer.push(i * _FRAME, (i + 1) * _FRAME, p) for i, p in enumerate(probabilities))
    return [endpoint for endpoint in found if endpoint]


def test_an_utterance_starts_with_padding_and_stops_after_the_silence() -> None:
    started, paused, stopped = endpoints([0.0] * 20 + [0.9] * 10 + [0.0] * 20)
    assert isinstance(started, Started)
    assert isinstance(paused, Paused)
    assert isinstance(stopped, Stopped)
    assert started.start == pytest.approx(20 * _FRAME - 0.3)
    assert paused.speech_end == stopped.speech_end == pytest.approx(30 * _FRAME)
    assert stopped.end == pytest.approx(46 * _FRAME)


def test_padding_does_not_reach_before_the_audio_or_into_the_utterance_before() -> None:
    settings = TurnDetection(prefix_padding=1.0, silence=0.1)
    assert endpoints([0.9] * 2, settings) == [Started(0.0)]
    first, stopped, second = endpoints([0.9] * 3 + [0.0] * 6 + [0.9] * 2, settings)
    assert isinstance(first, Started)
    assert isinstance(stopped, Stopped)
    assert second == Started(stopped.end)


@pytest.mark.parametrize("probabilities", [[0.9], [0.9, 0.0] * 10, [0.49] * 10])
def test_a_click_is_no_speech(probabilities: list[float]) -> None:
    assert endpoints([*probabilities, *[0.0] * 30]) == []


def test_two_frames_are_speech() -> None:
    assert [type(endpoint) for endpoint in endpoints([0.0, 0.9, 0.9])] == [Started]


def test_a_fading_voice_is_still_speech_until_it_is_well_below_the_threshold() -> None:
    assert len(endpoints([0.9] * 3 + [0.36] * 100)) == 1
    assert isinstance(endpoints([0.9] * 3 + [0.34] * 20)[-1], Stopped)


def test_a_silence_that_has_begun_ends_only_with_real_speech() -> None:
    """Between the two thresholds, a frame keeps what was: speech stays speech, and silence goes on."""
    kinds = [type(endpoint) for endpoint in endpoints([0.9] * 3 + [0.1] + [0.4] * 20)]
    assert kinds == [Started, Paused, Stopped]


def test_a_caller_who_goes_on_after_a_pause_resumes() -> None:
    kinds = [type(endpoint) for endpoint in endpoints([0.9] * 3 + [0.0] * 10 + [0.9] * 3 + [0.0] * 20)]
    assert kinds == [Started, Paused, Resumed, Paused, Stopped]


def test_a_gap_between_two_words_is_no_pause() -> None:
    kinds = [type(endpoint) for endpoint in endpoints([0.9] * 3 + [0.0] * 4 + [0.9] * 3)]
    assert kinds == [Started]


def test_a_silence_set_shorter_than_a_pause_stops_without_one() -> None:
    kinds = [type(endpoint) for endpoint in endpoints([0.9] * 3 + [0.0] * 5, TurnDetection(silence=0.1))]
    assert kinds == [Started, Stopped]


@pytest.mark.parametrize("threshold", [0.02, 0.1, 0.15])
def test_with_a_low_threshold_an_utterance_still_ends(threshold: float) -> None:
    found = endpoints([0.9] * 3 + [0.005] * 20, TurnDetection(threshold=threshold))
    assert isinstance(found[-1], Stopped)


def test_reset_forgets_an_open_utterance() -> None:
    endpointer = Endpointer(TurnDetection())
    for frame in range(3):
        endpointer.push(frame * _FRAME, (frame + 1) * _FRAME, 0.9)
    assert endpointer.speaking
    endpointer.reset()
    assert not endpointer.speaking
    assert endpointer.push(3 * _FRAME, 4 * _FRAME, 0.0) is None


@given(
    st.lists(st.floats(0.0, 1.0), max_size=200),
    st.builds(TurnDetection, threshold=st.floats(0.0, 1.0), silence=st.floats(0.0, 2.0)),
)
def test_endpoints_come_in_the_only_sensible_order(probabilities: list[float], settings: TurnDetection) -> None:
    follows: dict[type | None, tuple[type, ...]] = {
        None: (Started,),
        Started: (Paused, Stopped),
        Paused: (Resumed, Stopped),
        Resumed: (Paused, Stopped),
        Stopped: (Started,),
    }
    last: type | None = None
    end = 0.0
    for endpoint in endpoints(probabilities, settings):
        assert type(endpoint) in follows[last]
        if isinstance(endpoint, Started):
            assert endpoint.start >= end
        if isinstance(endpoint, Stopped):
            assert endpoint.end - endpoint.speech_end >= settings.silence - 1e-9
            end = endpoint.end
        last = type(endpoint)


def heard_near(frames: Iterable[tuple[float, bool]]) -> list[Endpoint]:
    endpointer = Endpointer(TurnDetection())
    found = (endpointer.push(i * _FRAME, (i + 1) * _FRAME, p, near) for i, (p, near) in enumerate(frames))
    return [endpoint for endpoint in found if endpoint]


_NEAR, _FAR, _QUIET = (0.9, True), (0.9, False), (0.0, False)


def test_a_voice_that_is_not_near_begins_no_utterance() -> None:
    assert heard_near([_FAR] * 100) == []


def test_an_utterance_may_begin_softly_and_begins_no_more_than_half_a_second_before_what_is_near() -> None:
    softly, late = [*[_QUIET] * 20, *[_FAR] * 5, _NEAR], [*[_FAR] * 100, _NEAR]
    starts = [
        started.start for frames in (softly, late) for started in heard_near(frames) if isinstance(started, Started)
    ]
    assert starts == pytest.approx([20 * _FRAME - 0.3, 101 * _FRAME - 0.5 - 0.3])


def test_a_voice_that_is_not_near_is_silence_but_for_a_moment() -> None:
    assert len(heard_near([*[_NEAR] * 5, *[_FAR] * 11, *[_NEAR] * 5])) == 1
    _, paused, stopped = heard_near([*[_NEAR] * 5, *[_FAR] * 40])
    assert isinstance(paused, Paused)
    assert paused.speech_end == pytest.approx(17 * _FRAME)
    assert isinstance(stopped, Stopped)


def test_in_a_pause_only_what_is_near_goes_on() -> None:
    _, paused, resumed = heard_near([*[_NEAR] * 5, *[_QUIET] * 8, *[_FAR] * 3, *[_NEAR] * 2])
    assert isinstance(paused, Paused)
    assert isinstance(resumed, Resumed)
    assert (resumed.speech_end, resumed.seconds) == pytest.approx((5 * _FRAME, 11 * _FRAME))
