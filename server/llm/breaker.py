"""A circuit breaker: a model that fails again and again is left alone for a while, then tried by one request; one whose
server asks for time is left alone for that time.

Pure. `now` is monotonic seconds. Source of the pattern: M. Nygard, Release It!, chapter 5.
"""

import math
from typing import Literal

State = Literal["closed", "half_open", "open"]

_FAILURES = 3  # in a row
_OPEN_SECONDS = 5.0
_LONGEST_OPEN_SECONDS = 60.0


class Breaker:
    """Closed until three requests in a row have failed; then open, longer each time that the trial after it fails.

    Open as well for as long as the server asked for, up to a minute, whatever becomes of requests that are under way.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._seconds = _OPEN_SECONDS
        self._opened_until: float | None = None
        self._trying = False
        self._left_alone_until = -math.inf

    def state(self, now: float) -> State:
        """Whether requests go through (closed), none does (open), or one is due that tries it (half open)."""
        if now < self._left_alone_until:
            return "open"
        if self._opened_until is None:
            return "closed"
        return "open" if now < self._opened_until else "half_open"

    def asked(self, now: float) -> None:
        """A request goes out. If it is the trial, the next one has to wait: a trial may end without any outcome."""
        if self.state(now) == "half_open":
            self._opened_until = now + self._seconds
            self._trying = True

    def succeeded(self) -> None:
        """A request was answered."""
        self._failures, self._seconds, self._opened_until, self._trying = 0, _OPEN_SECONDS, None, False

    def failed(self, now: float, retry_after: float = 0.0) -> None:
        """A request was not answered, or too late; none is wanted for `retry_after` seconds."""
        self._left_alone_until = max(self._left_alone_until, now + min(retry_after, _LONGEST_OPEN_SECONDS))
        self._failures += 1
        if self._trying:  # else it went out before the breaker opened, with others
            self._trying = False
            self._seconds = min(2 * self._seconds, _LONGEST_OPEN_SECONDS)
        if self._failures >= _FAILURES:
            self._opened_until = now + self._seconds
