"""API keys and the token secret from AWS Secrets Manager, so that no file, image or template of a fleet holds them.

It reads, and checks as settings are checked; it writes nothing.
"""

import asyncio
import json
import os
from collections.abc import Callable
from typing import Annotated

import structlog
from botocore.exceptions import ClientError
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator

from server.aws import make_client
from server.settings.settings import HashedKeys, LongSecret, Settings, SettingsError

AGAIN_SECONDS = 120.0
"""Between two looks at the secret: a request costs next to nothing, and a leaked key should not live long."""

log = structlog.get_logger(__name__)


class _Content(BaseModel):
    """What the secret holds: either may be missing or empty, but not both."""

    model_config = ConfigDict(extra="forbid")

    api_keys: HashedKeys = frozenset()
    token_secret: Annotated[LongSecret | None, BeforeValidator(lambda value: value or None)] = None

    @model_validator(mode="after")
    def _not_empty(self) -> "_Content":
        if not self.api_keys and self.token_secret is None:
            raise ValueError("holds neither api_keys nor a token_secret")
        return self


def with_keys(settings: Settings) -> Settings:
    """The settings with `api_keys` and `token_secret` as the secret VOICE_KEYS_SECRET has them now; else as they are.

    Blocks for up to some seconds. Raises `SettingsError`; what the secret holds is in no message.
    """
    if not settings.keys_secret:
        return settings
    content = _read(settings.keys_secret)
    try:
        keys = _Content.model_validate(json.loads(content))
    except ValidationError as error:
        faults = (".".join(map(str, problem["loc"])) + " " + problem["msg"] for problem in error.errors())
        raise _wrong(settings.keys_secret, "; ".join(faults).strip()) from None
    except ValueError:
        raise _wrong(settings.keys_secret, "is not JSON") from None
    return settings.model_copy(update={"api_keys": keys.api_keys, "token_secret": keys.token_secret})


async def follow_keys(
    settings: Settings, take: Callable[[Settings], None], every_seconds: float = AGAIN_SECONDS
) -> None:
    """Read the secret again and again, and let `take` have the settings whenever its keys have changed.

    So a new key is let in, and a withdrawn one no more, without a restart. What can't be read changes nothing.
    """
    while True:
        await asyncio.sleep(every_seconds)
        try:
            new = await asyncio.to_thread(with_keys, settings)
        except SettingsError as error:
            log.warning("keys_not_read", error=str(error))
            continue
        if new != settings:
            log.info("keys_changed", api_keys=len(new.api_keys))
            take(new)
            settings = new


def _read(secret: str) -> str:
    try:
        client = make_client("secretsmanager", os.environ.get("AWS_REGION"))
        return str(client.get_secret_value(SecretId=secret)["SecretString"])
    except Exception as error:
        reason = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
        raise _wrong(secret, f"can't be read ({reason})") from None


def _wrong(secret: str, fault: str) -> SettingsError:
    return SettingsError(
        f"VOICE_KEYS_SECRET: got {secret!r}: {fault}; takes a secret of Secrets Manager with JSON of the texts "
        "api_keys (comma-separated) and token_secret, one of them or both"
    )
