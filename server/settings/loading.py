"""Where settings come from: the command line, `VOICE_*` variables, a TOML file.

A wrong setting is refused at the start, with its name, what it got and what it takes.
"""

import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource

from server.errors import VoicefleetError
from server.settings.settings import PREFIX, Settings
from server.settings.wrong_settings import explain, no_such_setting


class SettingsError(VoicefleetError):
    """One or more settings are wrong; the message has a line for each."""


def load_settings(config: Path | None = None, **options: Any) -> Settings:
    """Settings from the options given on the command line, else `VOICE_*` variables, else the TOML file, else defaults.

    `config` is the TOML file (or the one that VOICE_CONFIG names); None among `options` means not given.
    Raises `SettingsError`.
    """
    path = config or (Path(os.environ["VOICE_CONFIG"]) if os.environ.get("VOICE_CONFIG") else None)
    given = {name: value for name, value in options.items() if value is not None}
    _refuse_unknown_variables()
    try:
        return Settings(**(_read_toml(path) | EnvSettingsSource(Settings)() | given))
    except ValidationError as error:
        raise SettingsError(explain(error, Settings, PREFIX)) from None


def _read_toml(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"config: got {str(path)!r}, which can't be read ({error.strerror}); takes a TOML file"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"config: got {str(path)!r}, which is not TOML ({error}); takes a TOML file") from None


def _refuse_unknown_variables() -> None:
    """A misspelled variable would silently be a default otherwise."""
    fields = [*Settings.model_fields, "config"]
    unknown = sorted({name for name in os.environ if name.startswith(PREFIX)} - set(map(_variable, fields)))
    if unknown:
        raise SettingsError("\n".join(no_such_setting(name, fields, PREFIX, _variable) for name in unknown))


def _variable(field: str) -> str:
    return PREFIX + field.upper()
