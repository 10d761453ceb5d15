"""Options of where the fleet stands, and of how callers come in."""

from ipaddress import IPv4Network
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from infra.config.part import LogDays, Part

MOST_ZONES = 3  # addresses are set apart for so many, so that a zone can be added to a VPC that lives
_PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))  # RFC 1918


class NetworkConfig(Part):
    """Where the fleet stands: a VPC of its own, or one that exists."""

    vpc_id: str = Field(
        "",
        pattern=r"^(vpc-[0-9a-f]{8,17})?$",
        description="Existing VPC with private subnets and Amazon's resolver of names; empty makes one.",
    )
    subnet_group: str = Field(
        "",
        description="In an existing VPC with several kinds of private subnets, the kind that nodes stand in: its tag "
        "aws-cdk:subnet-name. One subnet in each zone is used.",
    )
    cidr: IPv4Network = Field(IPv4Network("10.42.0.0/16"), description="Addresses of the VPC that is made.")
    zones: tuple[Annotated[str, Field(pattern=r"^[a-z]$")], ...] = Field(
        ("a", "b", "c"),
        min_length=2,
        max_length=MOST_ZONES,
        description="Letters of the availability zones of the VPC that is made. Which of them have GPUs and AWS's "
        "endpoints differs between regions and accounts: `python -m infra.preflight` says it. Add one at the end only.",
    )
    nat_gateways: int = Field(1, ge=1, le=3, description="One is cheap; one a zone survives the loss of a zone.")
    interface_endpoints: bool = Field(
        True, description="Reach Bedrock, CloudWatch, SSM and Secrets Manager without the NAT gateway."
    )
    s3_prefix_list: str = Field(
        "",
        pattern=r"^(pl-[0-9a-f]{8,17})?$",
        description="AWS's list of S3's addresses in the region (com.amazonaws.REGION.s3). With it nodes reach those "
        "and the VPC (its interface endpoints) on 443, and nothing else; without it, any address on 443 and 80.",
    )
    flow_log_days: LogDays = Field(30, description="How long flow logs are kept.")

    @field_validator("zones")
    @classmethod
    def _each_once(cls, zones: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(zones)) < len(zones):
            raise ValueError("takes each zone once")
        return zones

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.s3_prefix_list and (self.vpc_id or not self.interface_endpoints):
            raise ValueError(
                "s3_prefix_list: takes a VPC that is made, with interface_endpoints: without those a node that reaches "
                "nothing else can't join"
            )
        if self.subnet_group and not self.vpc_id:
            raise ValueError("subnet_group: takes a VPC that exists, vpc_id; the one that is made has one kind")
        return self


class LoadBalancerConfig(Part):
    """How callers come in."""

    certificate_arn: str = Field(
        pattern=r"^arn:aws[\w-]*:acm:[\w-]+:\d{12}:certificate/\S+$",
        description="ACM certificate of the TLS listener, of the fleet's own region and account.",
    )
    internet_facing: bool = Field(
        False, description="Reachable from the internet, not only from the VPC. Cannot be changed afterwards."
    )
    tls_clients: tuple[IPv4Network, ...] = Field(_PRIVATE, min_length=1, description="Who may come in on 443.")
    plain_clients: tuple[IPv4Network, ...] = Field(
        _PRIVATE, description="Who may come in on 9000, unencrypted: private networks only."
    )
    domain_name: str = Field("", description="Name in Route 53 that points to the load balancer; empty for none.")
    hosted_zone_id: str = Field("", description="Hosted zone of that name.")

    @field_validator("plain_clients")
    @classmethod
    def _private(cls, networks: tuple[IPv4Network, ...]) -> tuple[IPv4Network, ...]:
        if public := [str(network) for network in networks if not network.is_private]:
            raise ValueError(f"takes private networks, for keys would travel in plain; got {', '.join(public)}")
        return networks

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if bool(self.domain_name) != bool(self.hosted_zone_id):
            raise ValueError("domain_name and hosted_zone_id go together; got only one of them")
        return self

    @property
    def certificate_place(self) -> tuple[str, str]:
        """The certificate's region and account."""
        _, _, _, region, account, _ = self.certificate_arn.split(":", 5)
        return region, account
