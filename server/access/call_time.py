"""When a call has to end, and what is due before: a warning, a spoken goodbye, the end.

Pure: `now` is monotonic seconds and comes with each question. It ends nothing itself; the session does what is due.
"""

from dataclasses import dataclass
from typing import Literal

EndReason = Literal["idle", "longest_call", "credential_expired", "credential_revoked", "resumed"]

WARNING_SECONDS = 60.0
"""How long before the end the warning comes; half of what there is, where that is less."""
GOODBYE_SECONDS = 20.0
"""How long the goodbye may take: as much again to find a moment for it. Then the call ends without."""


@dataclass(frozen=True, slots=True)
class Expiring:
    """The call ends in so many seconds."""

    reason: EndReason
    seconds_left: float


@dataclass(frozen=True, slots=True)
class SayGoodbye:
    """The caller is to hear a goodbye now."""

    reason: EndReason


@dataclass(frozen=True, slots=True)
class Over:
    """The call ends now."""

    reason: EndReason


class CallTime:
    """One call's. `longest` and `idle` are seconds, 0: no limit; `expires` is when its credential does, if ever.

    `epoch` is how many seconds after 1970 `now` counts from.
    """

    def __init__(
        self, now: float, longest: float, idle: float, expires: float | None = None, epoch: float = 0.0
    ) -> None:
        self._epoch = epoch
        self._ends: dict[EndReason, float] = {}
        self._warn_before: dict[EndReason, float] = {}
        if longest:
            self._limit("longest_call", longest, now)
        if expires is not None:
            self._limit("credential_expired", expires - now, now)
        self._longest = longest
        self._idle = idle
        self._warned_of = 0.0
        self._goodbye_since: float | None = None
        self.active(now)

    @property
    def expires_at(self) -> int | None:
        """When it ends, whatever happens in it, in seconds since 1970; None: it may go on for ever."""
        ends = [self._ends[reason] for reason in ("longest_call", "credential_expired") if reason in self._ends]
        return int(self._epoch + min(ends)) if ends else None

    def active(self, now: float) -> None:
        """The caller spoke or was being answered, or the client did something: the call is not idle."""
        if self._idle:
            self._limit("idle", self._idle, now)

    def has_lasted(self, seconds: float, now: float) -> None:
        """The call began so long ago, on another connection."""
        if self._longest:
            self._limit("longest_call", self._longest - seconds, now)

    def revoke(self, now: float) -> None:
        """The credential is accepted no more."""
        if "credential_revoked" not in self._ends:
            self._limit("credential_revoked", 0.0, now)

    def due(self, now: float, at_rest: bool) -> Expiring | SayGoodbye | Over | None:
        """What is to be done now. `at_rest`: nobody speaks, nothing is being answered or still being played."""
        if not self._ends:
            return None
        reason = min(self._ends, key=lambda each: self._ends[each])
        end = self._ends[reason]
        if now < end:
            self._goodbye_since = None  # an idle call may have come to life again
            if end - now > self._warn_before[reason] or end == self._warned_of:
                return None
            self._warned_of = end
            return Expiring(reason, end - now)
        if self._goodbye_since is None:
            if not at_rest:
                return Over(reason) if now - end >= GOODBYE_SECONDS else None
            self._goodbye_since = now
            return SayGoodbye(reason)
        return Over(reason) if at_rest or now - self._goodbye_since >= GOODBYE_SECONDS else None

    def _limit(self, reason: EndReason, seconds: float, now: float) -> None:
        self._ends[reason] = now + seconds
        self._warn_before[reason] = min(WARNING_SECONDS, seconds / 2)
