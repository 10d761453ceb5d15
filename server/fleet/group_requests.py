"""What a node asks of AWS as a member of its group, and when again: one at a time, after failures ever less often.

Pure: `now` is monotonic seconds. It sends nothing; `server.fleet.autoscaling` and `server.fleet.cloudwatch` do.
"""

from dataclasses import dataclass, field
from enum import Enum

LONGEST_PAUSE_SECONDS = 60.0
"""Between two tries of what fails."""

NOT_YET_SECONDS = 60.0
"""How long after the first try a hook that holds nothing may just not hold the instance yet: IMDS tells of a transition
before the instance is in it, and an answer that came too early must not leave the hook to its timeout."""


@dataclass(frozen=True, slots=True)
class CompleteHook:
    """Let the instance go on (CompleteLifecycleAction, CONTINUE)."""

    hook: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """More time, please (RecordLifecycleActionHeartbeat)."""

    hook: str


@dataclass(frozen=True, slots=True)
class Protect:
    """Set or clear the instance's protection from scale-in (SetInstanceProtection)."""

    on: bool


@dataclass(frozen=True, slots=True)
class ReportUnhealthy:
    """Replace the instance (SetInstanceHealth); `missing` are the parts that do not serve."""

    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PublishCutCalls:
    """Tell CloudWatch how many calls the drain has cut (PutMetricData)."""

    calls: float


GroupRequest = CompleteHook | Heartbeat | Protect | ReportUnhealthy
"""What goes to Auto Scaling."""

Request = GroupRequest | PublishCutCalls


class Answer(Enum):
    """What became of a request."""

    DONE = "done"
    NOT_OUTSTANDING = "not_outstanding"  # the hook does not hold the instance now
    FAILED = "failed"


@dataclass(slots=True)
class Errand:
    """One kind of request: never twice under way, not before `not_before`, and after failures with growing pauses."""

    not_before: float = 0.0
    _under_way: bool = False
    _failures: int = 0

    def begin(self, now: float) -> bool:
        """Whether it is to be sent now; if so it is under way until `ended`."""
        if self._under_way or now < self.not_before:
            return False
        self._under_way = True
        return True

    def ended(self, answer: Answer, now: float, again_in: float = 0.0) -> None:
        """It was answered; if done, it may be sent again in `again_in` seconds."""
        self._under_way = False
        if answer is Answer.DONE:
            self._failures = 0
            self.not_before = now + again_in
        else:
            self.not_before = now + min(LONGEST_PAUSE_SECONDS, 2.0**self._failures)
            self._failures += 1


@dataclass(slots=True)
class Completion:
    """The completion of one hook, once for each transition that it holds up."""

    hook: str
    gives_up: bool = True
    """Whether a hook that has held nothing for `NOT_YET_SECONDS` is taken to hold nothing at all."""

    settled: bool = False
    """Whether the transition is no longer held up."""

    _errand: Errand = field(default_factory=Errand)
    _transition: int = 0
    _asked_for: int = 0  # the transition that the request under way belongs to
    _first_refused: float | None = None

    def arm(self) -> None:
        """There is a new transition, whatever became of the last."""
        self.settled, self._first_refused = False, None
        self._transition += 1

    def ask(self, now: float) -> CompleteHook | None:
        """The request, if it is to be sent now."""
        if self.settled or not self._errand.begin(now):
            return None
        self._asked_for = self._transition
        return CompleteHook(self.hook)

    def answered(self, answer: Answer, now: float) -> bool:
        """The request was answered. Whether that tells that the present transition is, or may be, held up no longer."""
        self._errand.ended(answer, now)
        if self._asked_for != self._transition or answer is Answer.FAILED:
            return False
        self._first_refused = now if self._first_refused is None else self._first_refused
        has_waited = now - self._first_refused >= NOT_YET_SECONDS
        self.settled = answer is Answer.DONE or (self.gives_up and has_waited)
        return True
