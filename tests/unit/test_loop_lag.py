"""Event-loop lag: each deadline that a stall covered counts, as each would have been a caller's frame."""

import asyncio
import time

import pytest

from server.observability.loop_lag import Deadlines, watch_loop_lag
from server.observability.metrics import REGISTRY


def test_waking_on_time_is_a_lateness_of_nothing() -> None:
    deadlines = Deadlines(0.5, now=10.0)
    assert deadlines.missed_by(10.25) == []
    assert deadlines.missed_by(10.5) == [0.0]
    assert deadlines.next == 11.0


def test_a_stall_counts_for_every_deadline_in_it_and_later_ones_stay_where_they_were() -> None:
    deadlines = Deadlines(0.5, now=10.0)
    assert deadlines.missed_by(11.75) == pytest.approx([1.25, 0.75, 0.25])
    assert deadlines.next == 12.0


async def test_a_loop_that_was_held_up_is_seen_in_the_metric() -> None:
    def late(seconds: str) -> float:
        count = REGISTRY.get_sample_value("voice_event_loop_lag_seconds_count") or 0.0
        return count - (REGISTRY.get_sample_value("voice_event_loop_lag_seconds_bucket", {"le": seconds}) or 0.0)

    before = late("0.1")
    watch = asyncio.create_task(watch_loop_lag())
    await asyncio.sleep(0)
    time.sleep(0.25)  # the fault itself: something computes on the loop  # noqa: ASYNC251
    await asyncio.sleep(0.01)  # a later deadline than the watcher's
    watch.cancel()
    assert late("0.1") > before
