"""Options of what a node is told. Its own settings are checked by the very class that will read them on the node."""

import re
from typing import Self

from pydantic import Field, ValidationError, field_validator, model_validator

from infra.config.part import Part, fault
from server.addresses import is_local, split_address
from server.models.catalogue import required_models
from server.settings.loading import SettingsError
from server.settings.secrets import secret_settings
from server.settings.settings import PREFIX, Settings
from server.settings.wrong_settings import explain

# What the node is told by the stacks themselves; an operator who could set it too would only break it.
_SET_BY_THE_STACKS = frozenset(
    {"host", "llm", "max_sessions", "drain_seconds", "model_s3", "fleet_group", "keys_secret", "run_dir", "model_dir"}
)

# Of a node: the template, its user data and /etc/voicefleet/node.env say them to more people than may know a key.
_EVERYWHERE = "would be read by whoever reads the template, or the user data of a node"
_IN_THE_SECRET = (
    f"belong into the secret of Secrets Manager that the stack's output KeysSecret names (docs/deploy.md); here they "
    f"{_EVERYWHERE}"
)
_USER_INFO = re.compile(r"://[^/?#\s]*@")


class NodeConfig(Part):
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
            raise fault(f"fallback_models: a user name or password in an address {_EVERYWHERE}")
        try:
            Settings(llm=self.llm)
        except ValidationError as error:
            raise fault(explain(error, Settings, PREFIX).replace("VOICE_LLM", "fallback_models")) from None
        return self

    @field_validator("settings")
    @classmethod
    def _known_and_public(cls, settings: dict[str, str]) -> dict[str, str]:
        fields = {name: name.removeprefix(PREFIX).lower() for name in settings}
        if secret := [name for name, field in fields.items() if field in secret_settings(Settings)]:
            belongs = ", ".join(f"{name} as {fields[name]}" for name in secret)
            raise fault(f"{belongs} {_IN_THE_SECRET}")
        if hidden := [name for name, value in settings.items() if _USER_INFO.search(value)]:
            raise fault(f"{', '.join(hidden)}: a user name or password in an address {_EVERYWHERE}")
        names = {PREFIX + name.upper() for name in Settings.model_fields.keys() - _SET_BY_THE_STACKS}
        if wrong := sorted(settings.keys() - names):
            raise fault(f"takes {PREFIX}* variables of docs/settings.md that the stacks do not set; got {wrong}")
        try:
            required_models(Settings.model_validate({fields[name]: value for name, value in settings.items()}))
        except ValidationError as error:
            raise fault(explain(error, Settings, PREFIX).replace("\n", "; ")) from None
        except SettingsError as error:
            raise fault(str(error)) from None
        return settings

    @property
    def speech_ports(self) -> list[int]:
        """Ports on which the settings look for TTS workers on other machines."""
        addresses = self.settings.get(f"{PREFIX}TTS_ADDRESS", "").split(",")
        ports = {split_address(address.strip())[1] for address in addresses if not is_local(address.strip())}
        return sorted(int(port) for port in ports if port.isdecimal())
