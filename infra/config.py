"""What an operator may choose for an environment: read from the context of `cdk.json`, refused by name where wrong.

`environments.NAME` there holds an environment, its `regions` what is different in each; `-c env=NAME` chooses it. The
node's own settings are checked by the very class that will read them on the node.
"""

import re
from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from infra.alarms import AlarmConfig
from server.addresses import is_local, split_address
from server.errors import VoicefleetError
from server.fleet.lifecycle import HEARTBEAT_SECONDS
from server.models.catalogue import required_models
from server.settings.loading import SettingsError
from server.settings.secrets import secret_settings
from server.settings.settings import PREFIX, Settings
from server.settings.wrong_settings import explain

_GPU_TYPES = ("g5", "g6", "g6e")
_MAX_HEARTBEATS = 100  # of a lifecycle hook: it waits no longer than so many of its timeouts, 48 h at most

# What the node is told by the stack itself; an operator who could set it too would only break it.
_SET_BY_THE_STACK = frozenset(
    {"host", "llm", "max_sessions", "drain_seconds", "model_s3", "fleet_group", "keys_secret", "run_dir", "model_dir"}
)

# In JSON's words; pydantic has Python's.
_OPTIONS = "takes options by name, in braces"
_TAKES = {"dict_type": _OPTIONS, "model_type": _OPTIONS, "tuple_type": "takes a list, in brackets"}

# Of a node: the template, its user data and /etc/voicefleet/node.env say them to more people than may know a key.
_EVERYWHERE = "would be read by whoever reads the template, or the user data of a node"
_IN_THE_SECRET = (
    f"belong into the secret of Secrets Manager that the stack's output KeysSecret names (docs/deploy.md); here they "
    f"{_EVERYWHERE}"
)
_USER_INFO = re.compile(r"://[^/?#\s]*@")

InstanceType = Annotated[str, Field(pattern=rf"^({'|'.join(_GPU_TYPES)})\.\d*xlarge$")]
LogDays = Literal[7, 14, 30, 60, 90, 180, 365]  # of those that CloudWatch Logs offers
Cron = Annotated[str, Field(pattern=r"^\S+( \S+){4}$")]


def _wrong_settings(fault: str) -> PydanticCustomError:
    """What is wrong with `node.settings`, in words that name the setting: a value may be a secret gone astray."""
    return PydanticCustomError("wrong_settings", "{fault}", {"fault": fault})


class ConfigError(VoicefleetError):
    """The context of `cdk.json` is wrong; the message has a line for each value."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NetworkConfig(_Part):
    """Where the fleet stands: a VPC of its own, or one that exists."""

    vpc_id: str = Field(
        "",
        pattern=r"^(vpc-[0-9a-f]{8,17})?$",
        description="Existing VPC with private subnets and Amazon's resolver of names; empty makes one.",
    )
    cidr: IPv4Network = Field(IPv4Network("10.42.0.0/16"), description="Addresses of the VPC that is made.")
    zones: int = Field(3, ge=2, le=3, description="Availability zones.")
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

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.s3_prefix_list and (self.vpc_id or not self.interface_endpoints):
            raise ValueError(
                "s3_prefix_list: takes a VPC that is made, with interface_endpoints: without those a node that reaches "
                "nothing else can't join"
            )
        return self


class LoadBalancerConfig(_Part):
    """How callers come in."""

    certificate_arn: str = Field(
        pattern=r"^arn:aws[\w-]*:acm:[\w-]+:\d{12}:certificate/\S+$", description="ACM certificate of the TLS listener."
    )
    internet_facing: bool = Field(False, description="Reachable from the internet, not only from the VPC.")
    tls_clients: tuple[IPv4Network, ...] = Field(
        (IPv4Network("10.0.0.0/8"),), min_length=1, description="Who may come in on 443."
    )
    plain_clients: tuple[IPv4Network, ...] = Field(
        (IPv4Network("10.0.0.0/8"),), description="Who may come in on 9000, unencrypted: private networks only."
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


class FleetConfig(_Part):
    """The nodes: how many, of which kind, how they come and go."""

    ami_parameter: str = Field(
        pattern=r"^/[\w./-]+$", description="SSM parameter with the id of the image; read at each deploy."
    )
    instance_types: tuple[InstanceType, ...] = Field(
        ("g5.xlarge", "g5.2xlarge", "g6.xlarge", "g6e.xlarge"),
        min_length=1,
        max_length=20,
        description="In order of preference; several, as one alone is often not available.",
    )
    hourly_price: float = Field(
        1.006, gt=0, description="US dollars an hour of the first instance type: for the cost dashboard."
    )
    min_nodes: int = Field(2, ge=1, description="The floor; two survive the loss of one.")
    max_nodes: int = Field(8, ge=1, description="The ceiling; mind the vCPU quota.")
    spot_percent: int = Field(0, ge=0, le=100, description="Share of spot above the floor: a notice cuts calls.")
    root_gib: int = Field(40, ge=20, le=1000, description="Size of the root volume.")
    warm_nodes: int = Field(0, ge=0, description="Stopped nodes that wait to be started; 0 for none.")
    launch_seconds: int = Field(
        900, ge=120, le=7200, description="How long a new node may take to join before it is replaced."
    )
    drain_seconds: int = Field(
        7200, ge=60, le=48 * 3600, description="How long live calls may go on when a node is taken out; 96 min is p99."
    )
    drain_heartbeat_seconds: int = Field(
        300, ge=3 * HEARTBEAT_SECONDS, le=7200, description="A draining node silent for so long is given up."
    )
    checkpoints: tuple[int, ...] = Field(
        (10, 50, 100), description="Per cent of the nodes replaced before a rollout pauses to be looked at."
    )
    checkpoint_seconds: int = Field(600, ge=0, le=48 * 3600, description="That pause.")
    bake_seconds: int = Field(1800, ge=0, le=48 * 3600, description="Watch of the alarms after the last node.")

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
        longest = min(48 * 3600, _MAX_HEARTBEATS * self.drain_heartbeat_seconds)
        if self.drain_seconds > longest:
            raise ValueError(
                f"drain_seconds: got {self.drain_seconds}; takes at most {longest}, for which the hook waits with "
                f"drain_heartbeat_seconds of {self.drain_heartbeat_seconds}"
            )
        return self


class ScheduledSize(_Part):
    """A change of the fleet's bounds at a time that is known beforehand."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,40}$", description="A word for it.")
    cron: Cron = Field(description="When: minute, hour, day, month, weekday.")
    timezone: str = Field("UTC", description="IANA time zone of that.")
    min_nodes: int = Field(ge=1, description="The floor from then on.")
    max_nodes: int | None = Field(None, ge=1, description="The ceiling from then on; none leaves it.")


class ScalingConfig(_Part):
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


class NodeConfig(_Part):
    """What a node is told."""

    max_sessions: int = Field(32, ge=1, le=1000, description="Calls at once on a node.")
    bedrock_model: str = Field(
        "us.amazon.nova-lite-v1:0",
        pattern=r"^[\w.:-]+$",
        description="Bedrock model or inference profile that answers.",
    )
    fallback_models: tuple[str, ...] = Field(
        (),
        description="Language models that stand in for it, the first choice first, as VOICE_LLM names them, such as "
        "bedrock:us.amazon.nova-lite-v1:0@us-west-2. Of Bedrock's models, the node may use these and no other.",
    )
    mps: bool = Field(
        False,
        description="NVIDIA MPS: recognition and synthesis on the GPU side by side; a fault of one then ends both.",
    )
    settings: dict[str, str] = Field(
        default_factory=dict, description="Further settings of the node: any VOICE_* variable that is not set here."
    )

    @property
    def llm(self) -> str:
        """VOICE_LLM."""
        return ",".join([f"bedrock:{self.bedrock_model}", *self.fallback_models])

    def bedrock_models(self, region: str) -> dict[str, set[str]]:
        """Bedrock's models that a node of `region` may use, by the region in which it asks for them."""
        models: dict[str, set[str]] = {}
        for name in self.llm.split(","):
            kind, _, model = name.partition(":")
            if kind == "bedrock":
                model_id, _, other = model.partition("@")
                models.setdefault(other or region, set()).add(model_id)
        return models

    @model_validator(mode="after")
    def _models_that_there_may_be(self) -> Self:
        if any(map(_USER_INFO.search, self.fallback_models)):
            raise _wrong_settings(f"fallback_models: a user name or password in an address {_EVERYWHERE}")
        try:
            Settings(llm=self.llm)
        except ValidationError as error:
            raise _wrong_settings(explain(error, Settings, PREFIX).replace("VOICE_LLM", "fallback_models")) from None
        return self

    @field_validator("settings")
    @classmethod
    def _known_and_public(cls, settings: dict[str, str]) -> dict[str, str]:
        fields = {name: name.removeprefix(PREFIX).lower() for name in settings}
        if secret := [name for name, field in fields.items() if field in secret_settings(Settings)]:
            belongs = ", ".join(f"{name} as {fields[name]}" for name in secret)
            raise _wrong_settings(f"{belongs} {_IN_THE_SECRET}")
        if hidden := [name for name, value in settings.items() if _USER_INFO.search(value)]:
            raise _wrong_settings(f"{', '.join(hidden)}: a user name or password in an address {_EVERYWHERE}")
        names = {PREFIX + name.upper() for name in Settings.model_fields.keys() - _SET_BY_THE_STACK}
        if wrong := sorted(settings.keys() - names):
            raise _wrong_settings(
                f"takes {PREFIX}* variables of docs/settings.md that the stack does not set; got {wrong}"
            )
        try:
            required_models(Settings.model_validate({fields[name]: value for name, value in settings.items()}))
        except ValidationError as error:
            raise _wrong_settings(explain(error, Settings, PREFIX).replace("\n", "; ")) from None
        except SettingsError as error:
            raise _wrong_settings(str(error)) from None
        return settings

    @property
    def speech_ports(self) -> list[int]:
        """Ports on which the settings look for TTS workers on other machines."""
        addresses = self.settings.get(f"{PREFIX}TTS_ADDRESS", "").split(",")
        ports = {split_address(address.strip())[1] for address in addresses if not is_local(address.strip())}
        return sorted(int(port) for port in ports if port.isdecimal())


class ModelsConfig(_Part):
    """The bucket that nodes fetch models from."""

    prefix: str = Field("models", pattern=r"^[\w./-]+$", description="Folder of the bucket that holds them.")
    keep_old_days: int = Field(90, ge=1, le=3650, description="How long a replaced file can be had back.")


class Environment(_Part):
    """One environment in one region; in several regions it is as many fleets that know nothing of each other."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,20}$", description="Its name, in every resource's.")
    account: str = Field(
        "", pattern=r"^(\d{12})?$", description="AWS account; empty takes that of the credentials at hand."
    )
    region: str = Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$", description="AWS region, such as us-east-1.")
    production: bool = Field(False, description="Protect the stack and its data from being deleted.")
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
        """The name of the stack and of its Auto Scaling group."""
        return f"voicefleet-{self.name}"


def load_environments(environments: Mapping[str, Any], name: str) -> list[Environment]:
    """The environment `name` of the `environments` of `cdk.json`, once for each region. Raises `ConfigError`."""
    if name not in _options("environments", environments):
        raise ConfigError(f"env: got {name!r}; takes an environment of cdk.json: {', '.join(sorted(environments))}")
    shared = dict(_options(name, environments[name]))
    regions = shared.pop("regions", None)
    if not isinstance(regions, Mapping) or not regions:
        raise ConfigError(f"{name}.regions: got {regions!r}; takes a region or more, each with what is different there")
    return [
        _environment(name, region, _laid_over(shared, _options(f"{name}.regions.{region}", own)))
        for region, own in regions.items()
    ]


def _options(where: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: got {value!r}; {_OPTIONS}")
    return value


def _environment(name: str, region: str, options: Mapping[str, Any]) -> Environment:
    try:
        return Environment.model_validate({**options, "name": name, "region": region})
    except ValidationError as error:
        raise ConfigError(_explain(error, f"{name} ({region}): ")) from None


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`below`, with the values of `above` in place of its own, part by part."""
    joined = dict(below)
    for key, value in above.items():
        own = joined.get(key)
        joined[key] = _laid_over(own, value) if isinstance(own, Mapping) and isinstance(value, Mapping) else value
    return joined


def _explain(error: ValidationError, prefix: str) -> str:
    """A line for each wrong value: where it is, what it is unless that may be a secret, what would be accepted."""
    lines = []
    problems = error.errors(include_url=False)
    for problem in problems:
        if any(other["loc"][:-1] == problem["loc"] for other in problems):
            continue  # what is wrong is inside it; that it would be too short without that tells nobody anything
        where = prefix + ".".join(map(str, problem["loc"]))
        match problem["type"]:
            case "extra_forbidden":
                lines.append(f"{where}: no such option")
            case "missing":
                lines.append(f"{where}: has to be given")
            case "wrong_settings":
                lines.append(f"{where}: {problem['msg']}")
            case _:
                takes = _TAKES.get(problem["type"], problem["msg"].removeprefix("Value error, "))
                may_be_secret = problem["loc"] == ("node",) or problem["loc"][:2] == ("node", "settings")
                got = "a value that is not shown" if may_be_secret else repr(problem["input"])
                lines.append(f"{where}: got {got}; {takes}")
    return "\n".join(lines)
