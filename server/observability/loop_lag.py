"""How late the event loop wakes: what every call on the node feels when something computes where it must not."""

import asyncio
import time

from server.observability import metrics

_INTERVAL = 0.1


class Deadlines:
    """Absolute deadlines, `interval` seconds apart, the first one `interval` after `now` (monotonic seconds)."""

    def __init__(self, interval: float, now: float) -> None:
        self._interval = interval
        self.next = now + interval

    def missed_by(self, now: float) -> list[float]:
        """By how many seconds each deadline that has passed was missed; none passes twice.

        A stall of a second yields ten of them at 0.1 s: what ten calls would have felt, not one.
        """
        lateness = []
        while self.next <= now:
            lateness.append(now - self.next)
            self.next += self._interval
        return lateness


async def watch_loop_lag() -> None:
    """Observe the running loop's lag until cancelled."""
    deadlines = Deadlines(_INTERVAL, time.monotonic())  # the loop's own clock is cached and coarse under uvloop
    while True:
        await asyncio.sleep(max(0.0, deadlines.next - time.monotonic()))
        for lateness in deadlines.missed_by(time.monotonic()):
            metrics.event_loop_lag_seconds.observe(lateness)
