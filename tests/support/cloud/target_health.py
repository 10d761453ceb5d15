"""What a Network Load Balancer holds of one target: its state, and whether it gets and keeps connections.

Pure: `now` is seconds on any clock that only goes forward. The states are those of the API's `TargetHealth`. Where
AWS's words can be read in two ways, or others have measured something else, what is worse for callers is taken:

- Checks that pass before registration is complete count for nothing. ("It can take a few minutes for the registration
  process to complete and health checks to start"; support: three to five, aws-load-balancer-controller#1834.)
- New connections still come for a while after a target has turned unhealthy or was deregistered, against "the load
  balancer stops creating new connections" (measured: aws/containers-roadmap#470, OCPBUGS-86789; support: #1834).
- A target that is deregistered while it is unhealthy, or turns so afterwards, loses its connections at once. ("If the
  deregistered instance stays healthy ..., the load balancer can continue to send traffic to the instance. To ensure
  that existing connections are closed, you can ensure that the instance is unhealthy before you deregister it.")
- The draining interval of an unhealthy target ends its connections, also where none was meant to be ended ("otherwise,
  it will flip the target status to `unhealthy` and connections will be terminated").

The quotations are of the user guide's "Target groups" and "Health checks", and of AWS's announcement of
`unhealthy.draining`.
"""

from dataclasses import dataclass
from typing import Literal

State = Literal["initial", "healthy", "unhealthy.draining", "unhealthy", "draining", "unused"]


@dataclass(frozen=True, slots=True)
class TargetGroup:
    """A target group's attributes, in seconds, with the defaults of AWS.

    The last three are no attributes: how long AWS takes to begin with a target's checks, and how long it goes on
    sending connections to one that has been deregistered, or has turned unhealthy.
    """

    check_interval: float = 30.0
    healthy_threshold: int = 5
    unhealthy_threshold: int = 2
    unhealthy_termination: bool = True
    unhealthy_draining_interval: float = 0.0
    deregistration_delay: float = 300.0
    deregistration_termination: bool = False
    idle_timeout: float = 350.0
    registration: float = 300.0
    late_connections: float = 300.0
    late_connections_unhealthy: float = 40.0


class Target:
    """One registered target, from its registration until it is unused."""

    def __init__(self, group: TargetGroup, now: float) -> None:
        """Register it."""
        self._group = group
        self._registered_at = now
        self._healthy: bool | None = None
        self._unhealthy_since = 0.0
        self._was_healthy = False
        self._in_a_row = 0
        self._passing = False
        self._left_at: float | None = None

    def checked(self, passed: bool, now: float) -> None:
        """A health check has passed or failed. One that is deregistered may only get worse."""
        if now < self._registered_at + self._group.registration:
            return
        self._in_a_row = self._in_a_row + 1 if passed == self._passing else 1
        self._passing = passed
        if passed and self._in_a_row >= self._group.healthy_threshold and self._left_at is None:
            self._healthy = True
        elif not passed and self._in_a_row >= self._group.unhealthy_threshold and self._healthy is not False:
            self._was_healthy = self._healthy is True
            self._healthy, self._unhealthy_since = False, now

    def deregister(self, now: float) -> None:
        """It gets no more connections, soon."""
        self._left_at = now

    def state(self, now: float) -> State:
        """What `DescribeTargetHealth` would say."""
        if self._left_at is not None:
            return "draining" if now < self._left_at + self._group.deregistration_delay else "unused"
        if self._healthy is None:
            return "initial"
        if self._healthy:
            return "healthy"
        draining = now < self._unhealthy_since + self._group.unhealthy_draining_interval
        return "unhealthy.draining" if draining and not self._group.unhealthy_termination else "unhealthy"

    def offered(self, now: float) -> bool:
        """Whether it may get new connections: healthy, or so lately no more that not all of the balancer knows."""
        if self._left_at is not None and now >= self._left_at + self._group.late_connections:
            return False
        is_news = now < self._unhealthy_since + self._group.late_connections_unhealthy
        return self._healthy is True or (self._healthy is False and self._was_healthy and is_news)

    def keeps(self, now: float) -> bool:
        """Whether its connections go on."""
        match self.state(now):
            case "unhealthy":
                return not (self._group.unhealthy_termination or self._group.unhealthy_draining_interval)
            case "draining":
                return self._healthy is True
            case "unused":
                return self._healthy is True and not self._group.deregistration_termination
            case "initial" | "healthy" | "unhealthy.draining":
                return True
