"""Tells a person which settings are wrong, and what each takes. The value of a secret is never shown."""

import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches

from pydantic import BaseModel, ValidationError

from server.settings.accepted import accepted
from server.settings.secrets import secret_settings


def explain(error: ValidationError, settings: type[BaseModel], prefix: str) -> str:
    """A line for each wrong setting: its name (after `prefix`), what it got, what it takes."""
    schema = settings.model_json_schema()["properties"]
    secrets = secret_settings(settings)
    lines = []
    for problem in error.errors(include_url=False):
        name = str(problem["loc"][0]) if problem["loc"] else ""
        field = settings.model_fields.get(name)
        if not name:
            lines.append(problem["msg"].removeprefix("Value error, "))
        elif field is None:
            lines.append(no_such_setting(name, settings.model_fields, prefix))
        else:
            got = "a value that is not shown" if name in secrets else _shortened(_without_user(repr(problem["input"])))
            takes = problem["ctx"]["error"] if problem["type"] == "value_error" else f"takes {accepted(schema[name])}"
            lines.append(f"{prefix}{name.upper()}: got {got}; {takes}")
    return "\n".join(lines)


def no_such_setting(name: str, fields: Iterable[str], prefix: str, spelled: Callable[[str], str] = str) -> str:
    """A line for a name that no setting has, with the nearest of `fields`, `spelled` as it is where the name stands."""
    nearest = get_close_matches(name.lower().removeprefix(prefix.lower()), fields, n=1)
    hint = f"did you mean {spelled(nearest[0])}? " if nearest else ""
    return f"{name}: no such setting; {hint}docs/settings.md lists them all"


def _without_user(text: str) -> str:
    """Of a URL that is wrong, whatever may be a user and a password."""
    return re.sub(r"(?<=//)\S*@", "...@", text)


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"
