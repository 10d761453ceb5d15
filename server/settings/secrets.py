"""Which settings are secrets: those of type `SecretStr`, and those that are marked as `NOT_SHOWN`.

What a setting is stands beside it, in `Settings`; whoever has to keep secrets out of something asks here.
"""

from typing import Any, Final, get_args

from pydantic import BaseModel, SecretStr


class _NotShown:
    """The type of the mark."""


NOT_SHOWN: Final = _NotShown()
"""In the annotation of a setting: whoever is given its value learns a secret, though its type does not say so."""


def secret_settings(settings: type[BaseModel]) -> frozenset[str]:
    """The names of the fields that hold secrets."""
    return frozenset(
        name
        for name, field in settings.model_fields.items()
        if NOT_SHOWN in field.metadata or SecretStr in _types_in(field.annotation)
    )


def _types_in(annotation: Any) -> set[Any]:
    return {annotation}.union(*(_types_in(part) for part in get_args(annotation)))
