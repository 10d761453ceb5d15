"""The life of a node in an Auto Scaling group: joining it, protected while it has calls, drained, replaced when broken.

Pure: facts come in, `now` is monotonic seconds, and `decide` says what is to be done. It asks neither AWS nor the node;
`server.fleet.member` does. Warm pools are joined once per transition; an instance that goes back into the pool
after it had calls (an instance reuse policy) is not foreseen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from server.fleet.group_requests import (
    Answer,
    CompleteHook,
    Completion,
    Errand,
    Heartbeat,
    Protect,
    PublishCutCalls,
    ReportUnhealthy,
    Request,
)

LAUNCH_HOOK = "voicefleet-join"
"""Name of the lifecycle hook that holds an instance back until its node is ready."""

TERMINATE_HOOK = "voicefleet-drain"
"""Name of the lifecycle hook that holds a terminating instance until its calls have ended."""

HEARTBEAT_SECONDS = 60.0
"""Between two heartbeats for a hook; the hooks' own timeouts have to be longer."""

LAUNCH_SECONDS = 900.0
"""How long heartbeats prolong a start; one that takes longer is left to the launch hook's timeout."""

PROTECT_AGAIN_SECONDS = 300.0
"""Protection is set again so often while there are calls: it has no expiry, but anyone may clear it."""

UNHEALTHY_AFTER_SECONDS = 180.0
"""A required part that has not served for so long will not come back: longer than any restart of a worker."""

UNHEALTHY_AGAIN_SECONDS = 60.0
"""Between two reports of the same."""

SETTLE_SECONDS = 5.0
"""How long a drained process that was told to end may still take for what it owes to the group."""

LAST_WORD_SECONDS = 10.0
"""How long a node that has cut calls tries to publish that before it lets its instance go: the CloudWatch agent looks
once a minute, and the instance is gone seconds after its hook."""

_IN_SERVICE_TARGETS = ("", "InService")
_LEAVING_TARGETS = ("Terminated", "Warmed:Terminated")
_JOINING_TARGETS = (*_IN_SERVICE_TARGETS, "Warmed:Stopped", "Warmed:Running", "Warmed:Hibernated")

DrainReason = Literal["terminating", "spot_interruption", "sigterm"]


class State(StrEnum):
    """Where the node is in its life."""

    STARTING = "starting"  # or ready, and waiting in the warm pool
    IN_SERVICE = "in_service"
    DRAINING = "draining"
    DRAINED = "drained"


@dataclass(frozen=True, slots=True)
class Drain:
    """Take no new call from now on."""

    reason: DrainReason


@dataclass(frozen=True, slots=True)
class CutCalls:
    """Close the calls that outlast the drain."""


@dataclass(frozen=True, slots=True)
class Exit:
    """The process may end: nothing is left that SIGTERM had to wait for."""


Command = Request | Drain | CutCalls | Exit


class Lifecycle:
    """What is known of the node and of its instance, and what follows from it."""

    def __init__(self, drain_seconds: float, now: float) -> None:
        """`drain_seconds` is how long calls may go on after the first reason to drain."""
        self._drain_seconds = drain_seconds
        self._started = now
        self._missing = {"node": now}  # the parts that do not serve, and since when; at first there is nothing
        self._spoken = False
        self._calls = 0.0
        self._target = ""
        self._spot = False
        self._terminated_at: float | None = None

        self._joined = False
        self._draining_since: float | None = None
        self._drained_at: float | None = None
        self._cut = 0.0
        self._cut_published = False
        self._exited = False

        self._launch = Completion(LAUNCH_HOOK)
        # The load balancer lets go of an instance first, which may take an hour in which the hook does not hold it yet.
        self._termination = Completion(TERMINATE_HOOK, gives_up=False)
        # The first one waits, so that a process which dies at once, again and again, prolongs no start.
        self._launch_heartbeat = Errand(now + HEARTBEAT_SECONDS)
        self._termination_heartbeat = Errand()
        self._protection = Errand()
        self._protected: bool | None = None  # not known: a predecessor that crashed may have left it set
        self._protected_at = now
        self._wished = False
        self._report = Errand()
        self._publication = Errand()

    # --- facts

    def parts(self, missing: Sequence[str], now: float) -> None:
        """These required parts of the node do not serve now."""
        self._missing = {name: self._missing.get(name, now) for name in missing}

    def spoke(self) -> None:
        """A first synthesis has really run."""
        self._spoken = True

    def calls(self, active: float) -> None:
        """So many calls are being served."""
        self._calls = active

    def target_state(self, target: str) -> None:
        """The state that the group is bringing the instance to, as IMDS names it; empty: it names none."""
        if not target or target == self._target:
            return
        if self._target:
            self._launch.arm()
        self._target = target

    def spot_notice(self) -> None:
        """EC2 takes the instance back within two minutes."""
        self._spot = True

    def terminate(self, now: float) -> None:
        """The process was told to end (SIGTERM)."""
        self._terminated_at = now

    def answered(self, request: Request, answer: Answer, now: float) -> None:
        """What became of a request that `decide` gave; each has to be answered once."""
        match request:
            case CompleteHook(hook) if hook == LAUNCH_HOOK:
                if self._launch.answered(answer, now) and self._target in _IN_SERVICE_TARGETS:
                    self._joined = True
            case CompleteHook():
                self._termination.answered(answer, now)
            case Heartbeat(hook) if hook == LAUNCH_HOOK:
                self._launch_heartbeat.ended(answer, now, HEARTBEAT_SECONDS)
            case Heartbeat():
                self._termination_heartbeat.ended(answer, now, HEARTBEAT_SECONDS)
            case Protect(on):
                self._protection.ended(answer, now)
                self._protected, self._protected_at = (on if answer is Answer.DONE else None), now
            case ReportUnhealthy():
                self._report.ended(answer, now, UNHEALTHY_AGAIN_SECONDS)
            case PublishCutCalls():
                self._publication.ended(answer, now)
                self._cut_published = answer is Answer.DONE

    # --- what follows

    @property
    def state(self) -> State:
        """Where the node is in its life; there is no way back from draining."""
        if self._drained_at is not None:
            return State.DRAINED
        if self._draining_since is not None:
            return State.DRAINING
        return State.IN_SERVICE if self._joined else State.STARTING

    @property
    def takes_calls(self) -> bool:
        """Whether calls come to it and it can serve them, so that its utilisation tells the fleet something."""
        return self.state is State.IN_SERVICE and self._target in _IN_SERVICE_TARGETS and not self._missing

    def unhealthy(self, now: float) -> bool:
        """Whether it is beyond hope. A full, a draining or a slow node is not; one that never served, its hook ends."""
        is_broken = any(now - since >= UNHEALTHY_AFTER_SECONDS for since in self._missing.values())
        return is_broken and self.state is State.IN_SERVICE

    def decide(self, now: float) -> list[Command]:
        """What is to be done now; to be asked several times a second."""
        commands = (
            self._start_draining(now),
            self._end_draining(now),
            self._publish_cut(now),
            self._join(now),
            self._prolong_launch(now),
            self._prolong_termination(now),
            self._protect(now),
            self._report_unhealthy(now),
            self._complete_termination(now),
            self._exit(now),
        )
        return [command for command in commands if command]

    @property
    def _ready(self) -> bool:
        return self._spoken and not self._missing

    @property
    def _leaving(self) -> bool:
        return self._target in _LEAVING_TARGETS

    def _start_draining(self, now: float) -> Drain | None:
        reasons: dict[DrainReason, bool] = {
            "terminating": self._leaving,
            "spot_interruption": self._spot,
            "sigterm": self._terminated_at is not None,
        }
        reason = next((reason for reason, holds in reasons.items() if holds), None)
        if reason is None or self._draining_since is not None:
            return None
        self._draining_since = now
        return Drain(reason)

    def _end_draining(self, now: float) -> CutCalls | None:
        if self._draining_since is None or self._drained_at is not None:
            return None
        if self._calls and now - self._draining_since < self._drain_seconds:
            return None
        self._drained_at, self._cut = now, self._calls
        return CutCalls() if self._calls else None

    def _publish_cut(self, now: float) -> Request | None:
        return PublishCutCalls(self._cut) if self._owes_cut(now) and self._publication.begin(now) else None

    def _owes_cut(self, now: float) -> bool:
        is_late = self._drained_at is None or now - self._drained_at >= LAST_WORD_SECONDS
        return self._cut > 0 and not self._cut_published and not is_late

    def _join(self, now: float) -> Request | None:
        may_join = self._draining_since is None and self._target in _JOINING_TARGETS
        return self._launch.ask(now) if self._ready and may_join else None

    def _prolong_launch(self, now: float) -> Request | None:
        is_starting = not self._ready and self._draining_since is None and not self._launch.settled
        is_due = is_starting and now - self._started <= LAUNCH_SECONDS and self._launch_heartbeat.begin(now)
        return Heartbeat(LAUNCH_HOOK) if is_due else None

    def _prolong_termination(self, now: float) -> Request | None:
        is_held = self._leaving and self._drained_at is None
        return Heartbeat(TERMINATE_HOOK) if is_held and self._termination_heartbeat.begin(now) else None

    def _protect(self, now: float) -> Request | None:
        """The group takes it only for an instance in service; one that terminates has its hook."""
        if not self._joined or self._leaving:
            return None
        wished = self._calls > 0
        if wished != self._wished:
            self._wished = wished
            self._protection.not_before = now  # what failed was another wish
        is_fresh = not wished or now - self._protected_at < PROTECT_AGAIN_SECONDS
        if self._protected == wished and is_fresh:
            return None
        return Protect(wished) if self._protection.begin(now) else None

    def _report_unhealthy(self, now: float) -> Request | None:
        return ReportUnhealthy(tuple(self._missing)) if self.unhealthy(now) and self._report.begin(now) else None

    def _complete_termination(self, now: float) -> Request | None:
        may_go = self._leaving and self._drained_at is not None and not self._owes_cut(now)
        return self._termination.ask(now) if may_go else None

    def _exit(self, now: float) -> Exit | None:
        if self._terminated_at is None or self._drained_at is None or self._exited:
            return None
        owes_completion = self._leaving and not self._termination.settled
        owes_protection = not self._leaving and self._joined and self._protected is not False
        is_owing = owes_completion or owes_protection or self._owes_cut(now)
        patience = SETTLE_SECONDS + (LAST_WORD_SECONDS if self._cut else 0.0)
        if is_owing and now - max(self._terminated_at, self._drained_at) < patience:
            return None
        self._exited = True
        return Exit()
