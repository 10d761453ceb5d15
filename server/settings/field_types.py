"""Types that settings of several subjects have."""

import json
import re
from collections.abc import Mapping
from typing import Annotated, get_args

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

from server.spoken_lines import LineKind

_MIN_SECRET_BYTES = 32
_LONGEST_LINE = 200
_LANGUAGE = re.compile(r"[a-z]{2,3}|\*")


def _comma_separated(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _long_secret(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value().encode()) < _MIN_SECRET_BYTES:
        raise ValueError(f"takes at least {_MIN_SECRET_BYTES} bytes (`openssl rand -hex 32` makes some)")
    return secret


def _lines(value: object) -> object:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, Mapping) or not all(map(_are_lines, value.keys(), value.values())):
        kinds = ", ".join(get_args(LineKind))
        raise ValueError(
            f"takes a JSON object of languages (ISO 639-1, or * for all), each an object with texts of up to "
            f"{_LONGEST_LINE} characters for any of {kinds}"
        )
    return value


def _are_lines(language: object, lines: object) -> bool:
    return (
        isinstance(language, str)
        and _LANGUAGE.fullmatch(language) is not None
        and isinstance(lines, Mapping)
        and lines.keys() <= set(get_args(LineKind))
        and all(isinstance(text, str) and len(text) <= _LONGEST_LINE for text in lines.values())
    )


CommaSeparated = Annotated[frozenset[str], NoDecode, BeforeValidator(_comma_separated)]
InOrder = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_comma_separated)]
ChangedLines = Annotated[dict[str, dict[LineKind, str]], NoDecode, BeforeValidator(_lines)]
LongSecret = Annotated[SecretStr, AfterValidator(_long_secret)]
