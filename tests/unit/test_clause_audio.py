"""What a worker sends for a clause, held against what speech can be."""

import pytest

from server.workers.clause_audio import LONGEST_GAP_SECONDS, ClauseAudio, ImpossibleAudio

_RATE = 24_000
_SECOND = bytes(2 * _RATE)


def test_speech_of_an_honest_pace_passes() -> None:
    audio = ClauseAudio(characters=15, sample_rate=_RATE)
    for _ in range(20):
        audio.take(_SECOND[:3840], waited=0.08)
        assert audio.patience == LONGEST_GAP_SECONDS


@pytest.mark.parametrize("pcm", [b"", b"\0", b"\0\0\0"])
def test_a_chunk_is_whole_samples_and_one_at_least(pcm: bytes) -> None:
    with pytest.raises(ImpossibleAudio, match=f"got {len(pcm)} bytes of audio; a chunk takes whole 16-bit samples"):
        ClauseAudio(characters=15, sample_rate=_RATE).take(pcm, waited=0.0)


def test_a_clause_is_no_longer_than_its_letters_can_be() -> None:
    audio = ClauseAudio(characters=5, sample_rate=_RATE)
    for _ in range(15):
        audio.take(_SECOND, waited=0.0)
    with pytest.raises(ImpossibleAudio, match="got more than 15 s of audio for 5 characters"):
        audio.take(_SECOND, waited=0.0)


def test_what_another_worker_has_said_counts() -> None:
    audio = ClauseAudio(characters=5, sample_rate=_RATE, skipped=15 * len(_SECOND))
    with pytest.raises(ImpossibleAudio):
        audio.take(b"\0\0", waited=0.0)


def test_what_is_asked_for_early_may_come_later_and_its_gaps_are_no_longer() -> None:
    audio = ClauseAudio(characters=15, sample_rate=_RATE, needed_in=4.0)
    assert audio.patience == LONGEST_GAP_SECONDS + 4.0
    audio.take(_SECOND, waited=8.0)
    assert audio.patience == LONGEST_GAP_SECONDS


def test_a_trickle_is_not_waited_for_as_long_as_it_lasts() -> None:
    """A sample every four seconds: no gap is too long, and the clause would take days."""
    audio = ClauseAudio(characters=15, sample_rate=_RATE)
    waited = 0.0
    while audio.patience >= 4.0:
        audio.take(b"\0\0", waited=4.0)
        waited += 4.0
    assert waited <= 2 * LONGEST_GAP_SECONDS


def test_a_slow_voice_is_heard_to_its_end() -> None:
    audio = ClauseAudio(characters=15, sample_rate=_RATE)
    for _ in range(10):
        assert audio.patience >= 3.0
        audio.take(_SECOND, waited=3.0)
