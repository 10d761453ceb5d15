"""A circuit breaker: a model that fails again and again is left alone for a while, then tried by one request.

Pure. `now` is monotonic seconds. Source of the pattern: M. Nygard, Release It!, chapter 5.
"""

from typing import Literal

State = Literal["closed", "half_open", "open"]

_FAILURES = 3  # in a row
_OPEN_SECONDS = 5.0
_LONGEST_OPEN_SECONDS = 60.0


class Breaker:
    """Closed until three requests in a row have failed; then open, longer each time that the trial after it fails."""

    def __init__(self) -> None:
        self._failures = 0
        self._seconds = _OPEN_SECONDS
        self._opened_until: float | None = None

    def state(self, now: float) -> State:
        """Whether requests go through (closed), none does (open), or one is due that tries it (half open)."""
        if self._opened_until is None:
            return "closed"
        return "open" if now < self._opened_until else "half_open"

    def asked(self, now: float) -> None:
        """A request goes out. If it is the trial, the next one has to wait: a trial may end without any outcome."""
        if self.state(now) == "half_open":
            self._opened_until = now + self._seconds

    def succeeded(self) -> None:
        """A request was answered."""
        self._failures, self._seconds, self._opened_until = 0, _OPEN_SECONDS, None

    def failed(self, now: float) -> None:
        """A request was not answered, or too late."""
        self._failures += 1
        if self._opened_until is not None:
            self._seconds = min(2 * self._seconds, _LONGEST_OPEN_SECONDS)
        if self._failures >= _FAILURES:
            self._opened_until = now + self._seconds
