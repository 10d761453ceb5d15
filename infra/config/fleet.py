"""Options of the nodes: how many, of which kind, how they come and go, and when."""

from math import floor
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from infra.config.part import InstanceType, Part
from server.fleet.lifecycle import HEARTBEAT_SECONDS

HOUR = 3600
MAX_HEALTHY_PERCENT = 110  # of the fleet during a rollout
# Of a node in service, before the next one is replaced: a Network Load Balancer takes 2 to 5 minutes to register it.
WARMUP_SECONDS = 300
_MAX_HEARTBEATS = 100  # of a lifecycle hook: it waits no longer than so many of its timeouts, 48 h at most
_LONGEST_UPDATE = 36 * HOUR  # CloudFormation gives up then, and has as long for the way back


class FleetConfig(Part):
    """The nodes: how many, of which kind, how they come and go."""

    ami_parameter: str = Field(
        pattern=r"^/[\w./-]+$", description="SSM parameter with the id of the image; read at each deploy."
    )
    instance_types: tuple[InstanceType, ...] = Field(
        ("g5.xlarge", "g5.2xlarge", "g6.xlarge", "g6e.xlarge"),
        min_length=1,
        max_length=20,
        description="In order of preference; several, as one alone is often not available. Those with one GPU.",
    )
    hourly_price: float = Field(
        1.006, gt=0, description="US dollars an hour of the first instance type: for the cost dashboard."
    )
    min_nodes: int = Field(2, ge=1, description="The floor; two survive the loss of one.")
    max_nodes: int = Field(8, ge=1, description="The ceiling; mind the vCPU quota.")
    spot_percent: int = Field(0, ge=0, le=100, description="Share of spot above the floor: a notice cuts calls.")
    root_gib: int = Field(40, ge=20, le=1000, description="Size of the root volume.")
    root_initialization_mib: Literal[0, 100, 200, 300] = Field(
        300,
        description="MiB a second at which AWS fills the root volume from the image, paid by the GiB; 0 leaves it to "
        "the first reads, which are slow.",
    )
    warm_nodes: int = Field(0, ge=0, description="Stopped nodes that wait to be started; 0 for none.")
    launch_seconds: int = Field(
        900, ge=120, le=2 * HOUR, description="How long a new node may take to join before it is replaced."
    )
    drain_seconds: int = Field(
        2 * HOUR,
        ge=60,
        le=48 * HOUR,
        description="How long live calls may go on when a node is taken out; 96 min is p99.",
    )
    drain_heartbeat_seconds: int = Field(
        1800,
        ge=3 * HEARTBEAT_SECONDS,
        le=2 * HOUR,
        description="A draining node silent for so long is set aside for a person to look at: longer than Auto Scaling "
        "itself is out of reach.",
    )
    checkpoints: tuple[int, ...] = Field(
        (10, 50, 100), description="Per cent of the nodes replaced before a rollout pauses to be looked at."
    )
    checkpoint_seconds: int = Field(600, ge=0, le=48 * HOUR, description="That pause.")
    bake_seconds: int = Field(1800, ge=0, le=48 * HOUR, description="Watch of the alarms after the last node.")
    rollback_on_alarms: bool = Field(
        True,
        description="Go back when an alarm is red. False for the one deploy that repairs what they are red for: a "
        "rollout does not start while one is.",
    )

    @field_validator("checkpoints")
    @classmethod
    def _ascending(cls, percentages: tuple[int, ...]) -> tuple[int, ...]:
        rising = list(percentages) == sorted(set(percentages))
        if not rising or not all(0 < percent <= 100 for percent in percentages) or percentages[-1:] != (100,):
            raise ValueError("takes rising percentages of which the last is 100")
        return percentages

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.min_nodes > self.max_nodes:
            raise ValueError(f"min_nodes: got {self.min_nodes}; takes at most max_nodes, {self.max_nodes}")
        longest = min(48 * HOUR, _MAX_HEARTBEATS * self.drain_heartbeat_seconds)
        if self.drain_seconds > longest:
            raise ValueError(
                f"drain_seconds: got {self.drain_seconds}; takes at most {longest}, for which the hook waits with "
                f"drain_heartbeat_seconds of {self.drain_heartbeat_seconds}"
            )
        if self.rollout_seconds > _LONGEST_UPDATE:
            raise ValueError(
                f"drain_seconds: a rollout of max_nodes may take {self.rollout_seconds / HOUR:.0f} h; takes a sum of "
                "drains, launches, checkpoints and bake_seconds of at most 36 h, when CloudFormation gives it up"
            )
        return self

    @property
    def rollout_seconds(self) -> int:
        """The longest that a rollout of `max_nodes` takes, if each step waits until the one before has drained."""
        at_once = max(1, floor(self.max_nodes * (MAX_HEALTHY_PERCENT - 100) / 100))
        steps = -(-self.max_nodes // at_once)
        each = self.launch_seconds + WARMUP_SECONDS + self.drain_seconds
        return steps * each + len(self.checkpoints) * self.checkpoint_seconds + self.bake_seconds


class ScheduledSize(Part):
    """A change of the fleet's bounds at a time that is known beforehand."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,40}$", description="A word for it.")
    cron: Annotated[str, Field(pattern=r"^\S+( \S+){4}$")] = Field(
        description="When: minute, hour, day, month, weekday."
    )
    timezone: str = Field("UTC", description="IANA time zone of that.")
    min_nodes: int = Field(ge=1, description="The floor from then on.")
    max_nodes: int | None = Field(None, ge=1, description="The ceiling from then on; none leaves it.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.max_nodes is not None and self.min_nodes > self.max_nodes:
            raise ValueError(f"min_nodes: got {self.min_nodes}; takes at most max_nodes, {self.max_nodes}")
        return self


class ScalingConfig(Part):
    """When nodes are added and taken away."""

    target_utilization: float = Field(
        0.5, gt=0, lt=1, description="Average share of sessions taken that the fleet is held at."
    )
    scale_in_below: float = Field(0.3, gt=0, lt=1, description="Below it, for long, one node goes.")
    scale_in_minutes: int = Field(15, ge=5, le=180, description="So long; and between two that go.")
    schedule: tuple[ScheduledSize, ...] = Field((), description="Changes at known times.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.scale_in_below >= self.target_utilization:
            raise ValueError(
                f"scale_in_below: got {self.scale_in_below}; takes less than target_utilization, "
                f"{self.target_utilization}, or nodes would come and go for ever"
            )
        return self
