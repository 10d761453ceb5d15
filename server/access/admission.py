"""How many calls a node takes, and when it takes no more: the one owner of the session count.

An HTTP request for speech or for a transcription takes part of what a call may take, for as long as it runs, and counts
as that. It decides and counts; refusing at the handshake, answering /ready and closing calls that outlast a drain are
done where those are. The metrics of sessions are written here and nowhere else.
"""

import asyncio
import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Literal, Self

from server.access.auth import Principal
from server.errors import VoicefleetError
from server.observability import metrics

Use = Literal["call", "transcription", "speech"]
"""What a place is taken for."""

COSTS: Mapping[Use, float] = {"call": 1.0, "transcription": 0.5, "speech": 1.0}
"""Places that each takes. A place is what its call may ask of the workers at most: the recogniser is asked for two of a
call's utterances at a time, and for one of a transcription; one voice speaks to a call, and all the time in a speech
request. The recogniser gives each of those who ask the same share, and the voice goes by when audio is needed, so that
so much is also what the other calls feel. Derived, not measured."""


class AdmissionRefused(VoicefleetError):
    """No new call is taken now; `reason` is fit to be a metric's label, `retry_after` is in seconds."""

    reason: Literal["full", "draining", "caller_full"]

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(f"{message}; try again in {retry_after} s, on a new connection")
        self.retry_after = retry_after


class AtCapacity(AdmissionRefused):
    """As many calls as the node takes are being served."""

    reason = "full"

    def __init__(self, limit: int, retry_after: int) -> None:
        taken = f"all {limit} sessions of this node are taken" if limit else "this node can serve no call now"
        super().__init__(taken, retry_after)
        self.limit = limit


class Draining(AdmissionRefused):
    """The node lets its calls finish and takes no new ones."""

    reason = "draining"

    def __init__(self, retry_after: int) -> None:
        super().__init__("this node is being taken out of service", retry_after)


class CallerAtCapacity(AdmissionRefused):
    """As many calls of one key, or of one token's subject, as it may hold are being served; others are let in."""

    reason = "caller_full"

    def __init__(self, limit: int, retry_after: int) -> None:
        super().__init__(f"this key, or this token's subject, may hold {limit} calls at once and does", retry_after)
        self.limit = limit


class Lease:
    """A place on the node, or part of one: released once, by `release` or by leaving the `with` block."""

    def __init__(self, admission: "Admission", caller: Principal | None, cost: float) -> None:
        self._admission: Admission | None = admission
        self._caller = caller
        self._cost = cost

    def release(self) -> None:
        """Give the place back; a second time does nothing."""
        if self._admission is not None:
            self._admission._give_back(self._caller, self._cost)
            self._admission = None

    def hand_over(self) -> "Lease | None":
        """The same place for another holder, this one having it no more; None if it has been given back."""
        admission, self._admission = self._admission, None
        return Lease(admission, self._caller, self._cost) if admission else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Admission:
    """Takes up to `limit` calls; a refused caller is told to come back after `retry_after` seconds.

    The limit may change while calls are served. It ends none: where there are more than it allows, no new one is taken.
    One key may hold `per_key` of them and one subject of tokens `per_token`, 0: all; a token may say less for itself.
    """

    def __init__(self, limit: int, retry_after: int, per_key: int = 0, per_token: int = 0) -> None:
        self.limit = limit
        self.retry_after = retry_after
        self.active: float = 0
        """Places that are taken: a whole number where there are only calls."""
        self.draining = False
        self.drains_until = math.inf
        """When the calls that there still are will be closed, in monotonic seconds; only while draining."""
        self._most = {"key": per_key, "token": per_token}
        self._held: defaultdict[Principal | None, float] = defaultdict(float)
        self._empty = asyncio.Event()
        self._changed()

    @property
    def utilization(self) -> float:
        """Places taken over the limit, 0 to 1; where nothing can be served, all there is is used."""
        return min(1.0, self.active / self.limit) if self.limit else 1.0

    @property
    def refusal(self) -> AdmissionRefused | None:
        """Why any call that came now would be refused; None if it would be taken."""
        return self._refusal(COSTS["call"])

    def _refusal(self, cost: float) -> AdmissionRefused | None:
        if self.draining:
            return Draining(self.retry_after)
        if self.active + cost > self.limit:
            return AtCapacity(self.limit, self.retry_after)
        return None

    def admit(self, caller: Principal | None = None, use: Use = "call") -> Lease:
        """Take a call or a request. Raises `AtCapacity`, `CallerAtCapacity` or `Draining`."""
        cost = COSTS[use]
        if refusal := self._refusal(cost):
            raise refusal
        most = self._places(caller)
        if most and self._held.get(caller, 0.0) + cost > most:
            raise CallerAtCapacity(most, self.retry_after)
        self._held[caller] += cost
        self.active += cost
        if use == "call":
            metrics.sessions_total.inc()
        self._changed()
        return Lease(self, caller, cost)

    def _places(self, caller: Principal | None) -> int:
        """How many places `caller` may hold at once; 0: as many as the node takes."""
        if caller is None:
            return 0
        return min(filter(None, (self._most.get(caller.kind), caller.sessions)), default=0)

    def resize(self, limit: int) -> None:
        """Take up to `limit` calls from now on; with 0 none."""
        self.limit = limit
        self._changed()

    def start_draining(self, until: float = math.inf) -> None:
        """Take no more calls; those there are go on `until` then at most. There is no way back."""
        self.draining = True
        self.drains_until = until
        self._changed()

    async def all_ended(self) -> None:
        """Wait until no call and no request is being served."""
        await self._empty.wait()

    def _give_back(self, caller: Principal | None, cost: float) -> None:
        self.active -= cost
        self._held[caller] -= cost
        if not self._held[caller]:
            del self._held[caller]  # subjects come and go
        self._changed()

    def _changed(self) -> None:
        if self.active:
            self._empty.clear()
        else:
            self._empty.set()
        metrics.sessions_active.set(self.active)
        metrics.sessions_capacity.set(self.limit)
        metrics.sessions_utilization.set(self.utilization)
        metrics.draining.set(self.draining)
