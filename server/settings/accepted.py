"""What a setting accepts, in words, from its JSON schema: the same ones in error messages and in `docs/settings.md`."""

from collections.abc import Mapping
from typing import Any

_KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a comma-separated list",
    "object": "a JSON object",
    "string": "text",
    "path": "a path",
    "password": "a secret",
}
_LIMITS = {
    "minimum": "from",
    "exclusiveMinimum": "above",
    "maximum": "up to",
    "minLength": "with a length from",
    "maxLength": "with a length up to",
    "pattern": "matching",
}


def accepted(schema: Mapping[str, Any]) -> str:
    """Such as "a whole number from 0 up to 65535" or "'cpu' or 'cuda'"."""
    schema = next((option for option in schema.get("anyOf", ()) if option["type"] != "null"), schema)
    if choices := schema.get("enum", [schema["const"]] if "const" in schema else []):
        return " or ".join(map(repr, choices))
    kind = _KINDS[schema.get("format", schema["type"])]
    return " ".join([kind, *(f"{words} {_plain(schema[key])}" for key, words in _LIMITS.items() if key in schema)])


def _plain(limit: float | str) -> str:
    return limit if isinstance(limit, str) else f"{limit:.12g}"
