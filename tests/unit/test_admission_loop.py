"""Calls, streams and lateness in virtual time: what a node admits whose worker promised too much, or just enough.

Callers come whenever there is a place, stay for 3 minutes, and their agents talk for 45 % of the time, 5 s at a go. The
worker keeps up with so many agents that talk; beyond that somebody's audio is late.
"""

import random
from dataclasses import dataclass, field

import pytest

from server.access.call_capacity import TalkShare, calls_for
from server.workers.engines.chatterbox.capacity import Capacity
from server.workers.engines.chatterbox.costs import NOTHING

TALKING = 0.45
SENTENCE_SECONDS = 5.0
CALL_SECONDS = 180.0


@dataclass
class Node:
    """One whose worker promises `promised` streams, and keeps up with `true` ones."""

    true: int
    promised: int
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    seconds: int = 0
    late: int = 0
    calls: int = 0

    def serve(self, warm_up: int, seconds: int) -> None:
        capacity = Capacity(NOTHING, rows=self.promised)
        assert capacity.limit == self.promised
        share, talking, spoken = TalkShare(), list[bool](), 0.0
        begins = TALKING / (1.0 - TALKING) / SENTENCE_SECONDS  # in a second of silence
        for second in range(warm_up + seconds):
            talking = [agent for agent in talking if self.chance.random() > 1.0 / CALL_SECONDS]
            if len(talking) < calls_for(capacity.limit, share.ratio):
                talking.append(False)
            talking = [
                self.chance.random() > 1.0 / SENTENCE_SECONDS if agent else self.chance.random() < begins
                for agent in talking
            ]
            spoken += min(sum(talking), self.true)
            share.observe(float(second), len(talking), spoken)
            late = sum(talking) > self.true
            if late:
                capacity.was_late(float(second))
            else:
                capacity.went_well(float(second))
            if second >= warm_up:
                self.seconds += 1
                self.late += late
                self.calls += len(talking)


@pytest.mark.parametrize(("true", "promised"), [(24, 24), (24, 36), (64, 96)])
def test_audio_is_late_for_2_percent_of_the_time_at_most_and_few_places_are_lost(true: int, promised: int) -> None:
    node = Node(true, promised)
    node.serve(warm_up=1800, seconds=3600)
    assert node.late / node.seconds < 0.02
    assert node.calls / node.seconds == pytest.approx(calls_for(true, TALKING), rel=0.12)
