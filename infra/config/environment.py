"""One environment in one region, of its parts; and what has to hold between them."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from infra.alarms import AlarmConfig
from infra.bedrock import can_be_asked
from infra.config.fleet import FleetConfig, ScalingConfig
from infra.config.network import LoadBalancerConfig, NetworkConfig
from infra.config.node import NodeConfig
from infra.config.part import LogDays, Part, fault


class ModelsConfig(Part):
    """The bucket that nodes fetch models from."""

    prefix: str = Field("models", pattern=r"^[\w./-]+$", description="Folder of the bucket that holds them.")
    keep_old_days: int = Field(90, ge=1, le=3650, description="How long a replaced file can be had back.")


class Environment(Part):
    """One environment in one region; in several regions it is as many fleets that know nothing of each other."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,20}$", description="Its name, in every resource's.")
    account: str = Field(
        "", pattern=r"^(\d{12})?$", description="AWS account; empty takes that of the credentials at hand."
    )
    region: str = Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$", description="AWS region, such as us-east-1.")
    production: bool = Field(
        False,
        description="Protect the stacks and their data from being deleted. To be set once the first deploy has "
        "succeeded: one that fails could not be repeated.",
    )
    tags: dict[str, str] = Field(default_factory=dict, description="Tags on everything.")
    notify: tuple[Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")], ...] = Field(
        (), description="E-mail addresses that alarms go to."
    )
    log_days: LogDays = Field(30, description="How long the nodes' logs are kept.")
    access_log_days: int = Field(90, ge=1, le=3650, description="How long access logs are kept.")
    network: NetworkConfig = NetworkConfig()
    load_balancer: LoadBalancerConfig
    fleet: FleetConfig
    scaling: ScalingConfig = ScalingConfig()
    node: NodeConfig = NodeConfig()
    models: ModelsConfig = ModelsConfig()
    alarms: AlarmConfig = AlarmConfig()

    @property
    def fleet_name(self) -> str:
        """The name of the Auto Scaling group, with which those of the stacks begin."""
        return f"voicefleet-{self.name}"

    @property
    def zones(self) -> list[str]:
        """The availability zones of the VPC that is made, such as us-east-1a."""
        return [self.region + zone for zone in self.network.zones]

    @model_validator(mode="after")
    def _of_one_region_and_account(self) -> Self:
        region, account = self.load_balancer.certificate_place
        if region != self.region:
            raise fault(f"load_balancer.certificate_arn: got one of {region}; takes one of {self.region}")
        if self.account and account != self.account:
            raise fault(
                f"load_balancer.certificate_arn: got one of account {account}; takes one of the account that the fleet "
                f"goes to, {self.account}"
            )
        for asked_in, models in self.node.bedrock_models(self.region).items():
            if elsewhere := sorted(model for model in models if not can_be_asked(model, asked_in)):
                raise fault(f"node: Bedrock has {', '.join(elsewhere)} in other regions, not in {asked_in}")
        return self

    @model_validator(mode="after")
    def _schedule_within_bounds(self) -> Self:
        for planned in self.scaling.schedule:
            ceiling = planned.max_nodes or self.fleet.max_nodes
            if planned.min_nodes > ceiling:
                raise fault(
                    f"scaling.schedule, {planned.name}: got min_nodes {planned.min_nodes}; takes at most {ceiling}, "
                    "fleet.max_nodes, or a max_nodes of its own"
                )
        return self
