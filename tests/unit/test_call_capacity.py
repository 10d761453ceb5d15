"""How many calls a node takes: from its streams, and from how much its agents talk."""

import math

import pytest

from server.access.call_capacity import TalkShare, calls_for


def _share_above(streams: int, calls: int, talk_share: float) -> float:
    """The share of the time for which more agents talk than there are streams."""
    return sum(
        math.comb(calls, talking) * talk_share**talking * (1 - talk_share) ** (calls - talking)
        for talking in range(streams + 1, calls + 1)
    )


@pytest.mark.parametrize("streams", [1, 2, 4, 8, 24, 32, 96, 256])
@pytest.mark.parametrize("talk_share", [0.25, 0.45, 0.6, 0.95])
def test_more_agents_talk_than_there_are_streams_for_a_fifth_of_the_time_at_most(
    streams: int, talk_share: float
) -> None:
    calls = calls_for(streams, talk_share)
    assert calls >= streams
    assert _share_above(streams, calls, talk_share) <= 0.2
    assert calls == streams or _share_above(streams, calls + 3, talk_share) > 0.2, "and not by far"


@pytest.mark.parametrize("streams", [0, 1, 24])
def test_agents_that_never_stop_have_a_stream_each(streams: int) -> None:
    assert calls_for(streams, 1.0) == streams


@pytest.mark.parametrize(("streams", "calls"), [(4, [6, 5, 4]), (24, [46, 35, 24]), (96, [200, 151, 96])])
def test_many_streams_are_worth_more_than_their_number(streams: int, calls: list[int]) -> None:
    """The table of docs/speech-service.md."""
    assert [calls_for(streams, talk_share) for talk_share in (0.45, 0.6, 1.0)] == calls


class _Node:
    """Calls whose agents talk for a share of the time."""

    def __init__(self) -> None:
        self.share = TalkShare()
        self.now, self.spoken = 1000.0, 50.0  # what was made before counts for nobody
        self.share.observe(self.now, 0, self.spoken)

    def serve(self, calls: int, seconds: float, talking: float) -> float:
        for _ in range(int(seconds)):
            self.now += 1.0
            self.spoken += calls * talking
            self.share.observe(self.now, calls, self.spoken)
        return self.share.ratio


def test_until_it_is_known_much_is_taken_for_granted() -> None:
    node = _Node()
    assert node.share.ratio == pytest.approx(0.6)
    assert node.serve(calls=0, seconds=3600, talking=0.0) == pytest.approx(0.6), "of no call nothing is learnt"


def test_it_follows_what_calls_do_in_steps() -> None:
    node = _Node()
    assert node.serve(calls=20, seconds=1200, talking=0.42) == pytest.approx(0.45)
    assert node.serve(calls=20, seconds=7200, talking=0.72) == pytest.approx(0.75)


def test_a_minute_of_silence_changes_little() -> None:
    node = _Node()
    node.serve(calls=20, seconds=1200, talking=0.45)
    assert node.serve(calls=20, seconds=60, talking=0.0) >= 0.4


@pytest.mark.parametrize(("talking", "ratio"), [(0.01, 0.25), (3.0, 1.0)])
def test_it_stays_within_bounds(talking: float, ratio: float) -> None:
    assert _Node().serve(calls=20, seconds=3600, talking=talking) == ratio
