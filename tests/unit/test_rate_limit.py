"""The allowance of audio: real time always passes, a burst passes once, a flood does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.access.rate_limit import AudioAllowance, AudioRateExceeded, TokenBucket


def test_speech_in_real_time_passes_for_ever() -> None:
    allowance = AudioAllowance(rate=1.0, burst=0.1)
    for frame in range(180_000):  # an hour
        allowance.take(0.02, now=50 + frame * 0.02)


def test_a_burst_passes_at_once_and_then_only_the_rate() -> None:
    allowance = AudioAllowance(rate=2.0, burst=10.0)
    allowance.take(10.0, now=0.0)
    with pytest.raises(AudioRateExceeded, match="takes 2 seconds of audio per second on average, 10 seconds at once"):
        allowance.take(0.1, now=0.0)
    allowance.take(1.0, now=0.5)
    with pytest.raises(AudioRateExceeded):
        allowance.take(0.1, now=0.5)


def test_what_was_refused_is_not_counted() -> None:
    allowance = AudioAllowance(rate=1.0, burst=1.0)
    with pytest.raises(AudioRateExceeded):
        allowance.take(1.5, now=0.0)
    allowance.take(1.0, now=0.0)


def test_silence_saves_up_no_more_than_the_burst() -> None:
    allowance = AudioAllowance(rate=4.0, burst=5.0)
    allowance.take(5.0, now=0.0)
    with pytest.raises(AudioRateExceeded):
        allowance.take(5.1, now=3600.0)
    allowance.take(5.0, now=3600.0)


@given(
    st.floats(1, 10),
    st.floats(0.5, 20),
    st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5)), max_size=50),
)
def test_no_more_passes_than_the_burst_and_the_rate_allow(
    rate: float, burst: float, sent: list[tuple[float, float]]
) -> None:
    allowance, now, passed = AudioAllowance(rate, burst), 0.0, 0.0
    for pause, seconds in sent:
        now += pause
        try:
            allowance.take(seconds, now)
        except AudioRateExceeded:
            continue
        passed += seconds
        assert passed <= burst + rate * now + 1e-6


def test_what_is_gone_already_may_be_spent_into_debt_and_is_waited_for() -> None:
    bucket = TokenBucket(rate=0.25, burst=2.0)
    assert bucket.spend(2.0, 100.0) == 0.0
    assert bucket.spend(0.5, 100.0) == pytest.approx(2.0)
    assert bucket.spend(0.0, 101.0) == pytest.approx(1.0)
    assert bucket.spend(0.0, 102.0) == 0.0


def test_a_bucket_fills_to_its_burst_and_no_further() -> None:
    bucket = TokenBucket(rate=1.0, burst=2.0)
    assert bucket.take(2, 0.0)
    assert not bucket.take(1, 0.5)
    assert bucket.take(1, 1.0)
    assert not bucket.take(3, 1000.0)
    assert bucket.take(2, 1000.0)
