"""Makes `docs/metrics.md` and `docs/settings.md` from the code they document: `python -m server.docs` (`make docs`).

A test says that the committed files are what the code makes.
"""

import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prometheus_client.metrics import MetricWrapperBase

from server.observability import metrics
from server.settings.accepted import accepted
from server.settings.settings import PREFIX, Settings

FOLDER = Path(__file__).parents[1] / "docs"
_MADE = "<!-- Made by `make docs`; edit the code it names instead. -->\n"
_SETTING = re.compile(r"^    (?:# --- (?P<group>.+)|(?P<name>\w+): .*)$", re.MULTILINE)


def metrics_page() -> str:
    """The page of every metric, in the order of their declaration."""
    rows = [_metric_row(declared) for declared in vars(metrics).values() if isinstance(declared, MetricWrapperBase)]
    return (
        f"# Metrics\n\n{_MADE}\n"
        "What `/metrics` on the HTTP port exports, as declared in `server/observability/metrics.py`. Dashboards,\n"
        "alarms and scaling use nothing else. A histogram exports `_bucket`, `_sum` and `_count` under its name. The\n"
        "process itself adds `process_*` (CPU seconds, resident memory, open files).\n\n"
        + _table(("Name", "Type", "Labels", "Meaning", "Buckets"), rows)
    )


def settings_page() -> str:
    """The page of every setting, in the groups that comments in `Settings` make."""
    schema = Settings.model_json_schema()["properties"]
    page = (
        f"# Settings\n\n{_MADE}\n"
        "As declared in `server/settings/settings.py`. A setting is taken from the command line, else from its\n"
        "variable, else from a TOML file (`--config` or `VOICE_CONFIG`), in which it has the variable's name without\n"
        "`VOICE_`, in small letters. A wrong one is refused at start.\n"
    )
    for group, names in _setting_groups().items():
        rows = [
            (f"`{PREFIX}{name.upper()}`", _default(schema[name]), accepted(schema[name]), schema[name]["description"])
            for name in names
        ]
        page += f"\n## {group.capitalize()}\n\n" + _table(("Variable", "Default", "Takes", "Meaning"), rows)
    return page


def write(folder: Path = FOLDER) -> None:
    """Write both pages into `folder`."""
    folder.mkdir(exist_ok=True)
    (folder / "metrics.md").write_text(metrics_page(), encoding="utf-8")
    (folder / "settings.md").write_text(settings_page(), encoding="utf-8")


def _metric_row(declared: MetricWrapperBase) -> tuple[str, ...]:
    (family,) = declared.describe()
    name = f"{family.name}_total" if family.type == "counter" else family.name
    labels = declared._labelnames  # the library shows neither these nor the bounds by a public name
    bounds = getattr(declared, "_upper_bounds", [])[:-1]  # without infinity
    return (
        f"`{name}`",
        family.type,
        ", ".join(f"`{label}`" for label in labels),
        family.documentation,
        ", ".join(f"{bound:g}" for bound in bounds),
    )


def _setting_groups() -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    group = ""
    for found in _SETTING.finditer(inspect.getsource(Settings)):
        if found["group"]:
            group = found["group"]
        elif found["name"] in Settings.model_fields:
            groups.setdefault(group, []).append(found["name"])
    return groups


def _default(schema: Mapping[str, Any]) -> str:
    default = schema["default"]
    return "none" if default in (None, "", []) else f"`{default}`"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


if __name__ == "__main__":
    write()
