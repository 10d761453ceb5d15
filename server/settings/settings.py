"""All settings of a node: what each subject has is in the module of its name; here is what holds among them.

`docs/settings.md` is made from these modules (`make docs`).
"""

import os
from typing import Any, Literal, Self

from pydantic import model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from server.addresses import is_local, is_loopback, server_of, without_user
from server.settings.access import AccessSettings
from server.settings.answers import AnswerSettings
from server.settings.call_limits import CallLimitSettings
from server.settings.node import NodeSettings
from server.settings.speech import SpeechSettings

PREFIX = "VOICE_"


class Settings(NodeSettings, SpeechSettings, AnswerSettings, CallLimitSettings, AccessSettings, BaseSettings):
    """The settings of a node. Pydantic begins with the fields of the last base, and so does `docs/settings.md`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("VOICE_TLS_CERT and VOICE_TLS_KEY go together; got only one of them")
        if not (self.needs_auth or is_loopback(self.host)):
            raise ValueError(
                f"VOICE_HOST: got {self.host!r}, which others can reach; takes a loopback address such as 127.0.0.1 "
                "unless there are VOICE_API_KEYS, a VOICE_TOKEN_SECRET or a VOICE_KEYS_SECRET"
            )
        if any(key and name != without_user(name) for name, key in self.llm_keys.items()):
            raise ValueError(
                "VOICE_LLM and VOICE_LLM_API_KEY: got a user in the URL and a key, and a request carries one of them; "
                "takes either the one or the other"
            )
        if self.port and self.port == self.http_port:
            raise ValueError(f"VOICE_HTTP_PORT: got {self.http_port}, which is VOICE_PORT too; takes another port")
        bare = [address for address in self.tts_address if not is_local(address)]
        if bare and self.worker_token is not None and self.tts_ca_file is None:
            raise ValueError(
                f"VOICE_TTS_ADDRESS: got {bare[0]!r}, to which VOICE_WORKER_TOKEN would go unencrypted; takes "
                "addresses of this machine unless there is a VOICE_TTS_CA_FILE"
            )
        return self

    @property
    def llm_keys(self) -> dict[str, str]:
        """The key of each model of `llm` that takes one; empty: it is asked without. Raises `ValueError`.

        A comma is no character of a bearer token (RFC 6750). One key for several models is for one server.
        """
        asked = [name for name in self.llm if name.startswith("openai:")]
        keys = self.llm_api_key.get_secret_value().split(",") if self.llm_api_key else [""]
        if len(keys) == 1 and (not keys[0] or len({server_of(name) for name in asked}) == 1):
            keys *= len(asked)
        if asked and len(keys) != len(asked):
            raise ValueError(
                f"VOICE_LLM_API_KEY: got {len(keys)} keys for {len(asked)} models of several servers, and no server "
                "may see another's key; takes a key for each `openai:` model of VOICE_LLM, comma-separated"
            )
        return dict(zip(asked, keys, strict=False))

    @property
    def effective_speculation(self) -> Literal["off", "stt", "full"]:
        """`speculation`, or what suits this machine: an answer in vain must not take the CPU from those in use."""
        if self.speculation != "auto":
            return self.speculation
        # The local model takes one core while it thinks; on two, four calls were answered sooner with it ahead.
        cramped = self.llm[0] == "local" and len(os.sched_getaffinity(0)) == 1
        return "stt" if cramped else "full"

    @property
    def token_secrets(self) -> tuple[str, ...]:
        """The secrets by which tokens and tickets are accepted; the first one seals tickets."""
        secrets = (self.token_secret, self.other_token_secret)
        return tuple(secret.get_secret_value() for secret in secrets if secret)

    @property
    def needs_auth(self) -> bool:
        """Whether a caller has to show a key or a token."""
        return bool(self.api_keys or self.keys_secret or self.token_secrets)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_: Any,
        **__: Any,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is passed in: `load_settings` lays the sources over one another, command line uppermost."""
        return (init_settings,)
