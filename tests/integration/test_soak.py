"""Hundreds of calls that end in every state leave nothing behind: `python -m tests.bench.soak` in small."""

from tests.bench.soak.scenes import SCENES
from tests.bench.soak.soak import Soak, play, soaked_node

TIMES = 10


async def test_calls_that_end_in_every_state_leave_no_memory_no_file_no_thread_and_no_task_behind() -> None:
    soak = Soak()
    with soaked_node() as node:
        await play(node, TIMES, soak)  # caches and pools fill up
        await play(node, TIMES, soak)
        in_speculation = node.metric("voice_speculations_total", outcome="ended")
        failed = node.events("session_failed")
    assert soak.faults == []
    assert soak.scenes.total() == 2 * TIMES * len(SCENES)
    assert in_speculation > 0, "no call has ended while an answer was held"
    assert failed == []
