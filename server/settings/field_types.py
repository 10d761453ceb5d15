"""Types that settings of several subjects have."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

_MIN_SECRET_BYTES = 32


def _comma_separated(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _long_secret(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value().encode()) < _MIN_SECRET_BYTES:
        raise ValueError(f"takes at least {_MIN_SECRET_BYTES} bytes (`openssl rand -hex 32` makes some)")
    return secret


CommaSeparated = Annotated[frozenset[str], NoDecode, BeforeValidator(_comma_separated)]
InOrder = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_comma_separated)]
LongSecret = Annotated[SecretStr, AfterValidator(_long_secret)]
