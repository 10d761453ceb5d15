"""Keys and other secret settings from AWS Secrets Manager, so that no file, image or template of a fleet holds them.

It reads, and has `Settings` check; it writes nothing.
"""

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any

import structlog
from botocore.exceptions import ClientError
from pydantic import ValidationError

from server.aws import make_client
from server.settings.loading import SettingsError
from server.settings.secrets import secret_settings
from server.settings.settings import PREFIX, Settings
from server.settings.wrong_settings import explain

AGAIN_SECONDS = 60.0
"""Between two looks at the secret: so calls with a withdrawn key have ended within two minutes, goodbye included."""

log = structlog.get_logger(__name__)


def with_keys(settings: Settings) -> Settings:
    """The settings with the secret ones as the secret VOICE_KEYS_SECRET has them now; without one, as they are.

    `api_keys` and the token secrets are the secret's alone: what it lacks of them, there is not. Another secret setting
    that it lacks stays as it was given. Blocks for up to some seconds. Raises `SettingsError`; what the secret holds is
    in no message.
    """
    if not settings.keys_secret:
        return settings
    held = {name: value for name, value in _read(settings.keys_secret).items() if value}
    if unknown := sorted(held.keys() - secret_settings(Settings)):
        raise _wrong(settings.keys_secret, f"holds {', '.join(unknown)}")
    if held.keys().isdisjoint(("api_keys", "token_secret")):
        raise _wrong(settings.keys_secret, "holds neither api_keys nor a token_secret")
    keys = {"api_keys": frozenset(), "token_secret": None, "other_token_secret": None} | held
    try:
        return Settings.model_validate(settings.model_dump() | keys)
    except ValidationError as error:
        raise _wrong(settings.keys_secret, explain(error, Settings, PREFIX).replace("\n", "; ")) from None


async def follow_keys(
    settings: Settings, *takers: Callable[[Settings], None], every_seconds: float = AGAIN_SECONDS
) -> None:
    """Read the secret again and again, and let each taker have the settings whenever its keys have changed.

    So a new key is let in, and a withdrawn one no more and its calls end, without a restart. What can't be read changes
    nothing.
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
            for take in takers:
                take(new)
            settings = new


def _read(secret: str) -> dict[str, Any]:
    try:
        client = make_client("secretsmanager", os.environ.get("AWS_REGION"))
        content = str(client.get_secret_value(SecretId=secret)["SecretString"])
    except Exception as error:
        reason = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
        raise _wrong(secret, f"can't be read ({reason})") from None
    try:
        held = json.loads(content)
    except (ValueError, RecursionError):
        held = None
    if not isinstance(held, dict):
        raise _wrong(secret, "is not JSON of names and texts")
    return held


def _wrong(secret: str, fault: str) -> SettingsError:
    others = sorted(secret_settings(Settings) - {"api_keys", "token_secret"})
    return SettingsError(
        f"VOICE_KEYS_SECRET: got {secret!r}: {fault}; takes a secret of Secrets Manager with JSON of the texts "
        f"api_keys (comma-separated) and token_secret, one of them or both, and of {', '.join(others)} where needed"
    )
