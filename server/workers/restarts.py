"""When a worker counts as serving, as wedged or as failed, and when it is started again.

Pure: `now` is monotonic seconds. It starts, checks and kills nothing; the supervisor does.
"""

import random
from collections.abc import Callable
from enum import StrEnum

CHECKS_MISSED = 3
"""Health checks that a serving worker may miss in a row before it counts as wedged."""

STARTS_FAILED = 3
"""Times that a worker may end before it has ever served."""

START_SECONDS = 120.0
"""How long a start may take: a large model on a cold disk."""

STABLE_SECONDS = 60.0
"""Serving for so long wipes out the failures before."""

FIRST_DELAY = 0.2
LONGEST_DELAY = 10.0


class WorkerState(StrEnum):
    """How a worker stands."""

    STARTING = "starting"
    SERVING = "serving"
    RESTARTING = "restarting"
    STOPPED = "stopped"


class Watch:
    """What is known of one worker, and what follows from it."""

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        """`jitter` gives 0 to 1, so that workers which died together do not all come back at once."""
        self.state = WorkerState.STOPPED
        self.restarts = 0
        self._jitter = jitter
        self._since = 0.0  # of being started, or of serving
        self._failures = 0
        self._missed = 0
        self._ever_served = False

    def started(self, now: float) -> None:
        """Its process runs."""
        self.state = WorkerState.STARTING
        self._since = now
        self._missed = 0

    def checked(self, serving: bool, now: float) -> bool:
        """Its health check was answered so, or not at all. True: it is beyond hope and has to be killed."""
        if serving:
            if self.state is not WorkerState.SERVING:
                self.state = WorkerState.SERVING
                self._since = now
                self._ever_served = True
            self._missed = 0
            return False
        if self.state is WorkerState.STARTING:
            return now - self._since > START_SECONDS
        self._missed += 1
        return self._missed >= CHECKS_MISSED

    def ended(self, now: float, *, refuses: bool = False) -> float | None:
        """Its process is gone. Seconds until it is to be started again; None: never, it can't even start.

        `refuses`: it said so itself, and the next one would end like it.
        """
        if self.state is WorkerState.SERVING and now - self._since >= STABLE_SECONDS:
            self._failures = 0
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2.0**self._failures)
        self._failures += 1
        if not self._ever_served and (refuses or self._failures >= STARTS_FAILED):
            self.state = WorkerState.STOPPED
            return None
        self.state = WorkerState.RESTARTING
        self.restarts += 1
        return delay * (0.5 + 0.5 * self._jitter())

    def stopped(self) -> None:
        """It was told to end, and did."""
        self.state = WorkerState.STOPPED
