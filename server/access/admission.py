"""How many calls a node takes, and when it takes no more: the one owner of the session count.

It decides and counts; refusing at the handshake, answering /ready and closing calls that outlast a drain are done where
those are. The metrics of sessions are written here and nowhere else.
"""

import asyncio
from typing import Literal, Self

from server.errors import VoicefleetError
from server.observability import metrics


class AdmissionRefused(VoicefleetError):
    """No new call is taken now; `reason` is fit to be a metric's label, `retry_after` is in seconds."""

    reason: Literal["full", "draining"]

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


class Lease:
    """A call's place on the node: released once, by `release` or by leaving the `with` block."""

    def __init__(self, admission: "Admission") -> None:
        self._admission: Admission | None = admission

    def release(self) -> None:
        """Give the place back; a second time does nothing."""
        if self._admission is not None:
            self._admission._give_back()
            self._admission = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Admission:
    """Takes up to `limit` calls; a refused caller is told to come back after `retry_after` seconds.

    The limit may change while calls are served. It ends none: where there are more than it allows, no new one is taken.
    """

    def __init__(self, limit: int, retry_after: int) -> None:
        self.limit = limit
        self.retry_after = retry_after
        self.active = 0
        self.draining = False
        self._empty = asyncio.Event()
        self._changed()

    @property
    def utilization(self) -> float:
        """Active calls over the limit, 0 to 1; where nothing can be served, all there is is used."""
        return min(1.0, self.active / self.limit) if self.limit else 1.0

    @property
    def refusal(self) -> AdmissionRefused | None:
        """Why a call that came now would be refused; None if it would be taken."""
        if self.draining:
            return Draining(self.retry_after)
        if self.active >= self.limit:
            return AtCapacity(self.limit, self.retry_after)
        return None

    def admit(self) -> Lease:
        """Take a call. Raises `AtCapacity` or `Draining`."""
        if refusal := self.refusal:
            raise refusal
        self.active += 1
        metrics.sessions_total.inc()
        self._changed()
        return Lease(self)

    def resize(self, limit: int) -> None:
        """Take up to `limit` calls from now on; with 0 none."""
        self.limit = limit
        self._changed()

    def start_draining(self) -> None:
        """Take no more calls; those there are go on. There is no way back."""
        self.draining = True
        self._changed()

    async def all_ended(self) -> None:
        """Wait until no call is being served."""
        await self._empty.wait()

    def _give_back(self) -> None:
        self.active -= 1
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
