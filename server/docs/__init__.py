"""Makes from the code what the documents say of it: `python -m server.docs` (`make docs`).

That is `docs/metrics.md`, `docs/settings.md`, the table of a call's limits in `docs/protocol.md`, and of the protocol's
events `docs/asyncapi.yaml` and `docs/events.md`.

A test says that the committed files are what the code makes.
"""

import inspect
import re
from collections.abc import Mapping, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from prometheus_client.metrics import MetricWrapperBase

from server.observability import metrics
from server.observability.waterfall import STAGES
from server.settings.accepted import accepted
from server.settings.settings import PREFIX, Settings

FOLDER = Path(__file__).parents[2] / "docs"
MADE = "<!-- Made by `make docs`; edit the code it names instead. -->\n"
_VALUES = {"stage": STAGES}  # of labels whose values are declared elsewhere than beside their metric
_LIMITS = re.compile(r"(<!-- Made by `make docs`: limits -->\n\n).*?(<!-- End of limits -->)", re.DOTALL)
_SETTING = re.compile(r"^    (?:# --- (?P<group>.+)|(?P<name>\w+): .*)$", re.MULTILINE)


def metrics_page() -> str:
    """The page of every metric, in the order of their declaration."""
    declared = vars(_as_at_the_start(metrics)).values()
    rows = [_metric_row(metric) for metric in declared if isinstance(metric, MetricWrapperBase)]
    return (
        f"# Metrics\n\n{MADE}\n"
        "What `/metrics` on the HTTP port exports, as declared in `server/observability/metrics.py`. Dashboards,\n"
        "alarms and scaling use nothing else. A histogram exports `_bucket`, `_sum` and `_count` under its name. A\n"
        "label is followed by its values, where they are known before a node runs. The process itself adds\n"
        "`process_*` (CPU seconds, resident memory, open files); of the workers that it started there are the same,\n"
        "as `voice_stt_worker_process_*` and `voice_tts_worker_process_*`.\n\n"
        + table(("Name", "Type", "Labels", "Meaning", "Buckets"), rows)
    )


def settings_page() -> str:
    """The page of every setting, in the groups that comments in the modules of `Settings` make."""
    schema = Settings.model_json_schema()["properties"]
    page = (
        f"# Settings\n\n{MADE}\n"
        "As declared in `server/settings/`. A setting is taken from the command line, else from its\n"
        "variable, else from a TOML file (`--config` or `VOICE_CONFIG`), in which it has the variable's name without\n"
        "`VOICE_`, in small letters. A wrong one is refused at start.\n"
    )
    for group, names in _setting_groups().items():
        rows = [
            (f"`{PREFIX}{name.upper()}`", _default(schema[name]), accepted(schema[name]), schema[name]["description"])
            for name in names
        ]
        page += f"\n## {group.capitalize()}\n\n" + table(("Variable", "Default", "Takes", "Meaning"), rows)
    return page


def protocol_page() -> str:
    """The page of the protocol as it stands, with the table of a call's limits made anew."""
    schema = Settings.model_json_schema()["properties"]
    rows = [
        (f"`{PREFIX}{name.upper()}`", _default(schema[name]), schema[name]["description"])
        for name in _setting_groups()["limits of a call"]
    ]
    page = (FOLDER / "protocol.md").read_text(encoding="utf-8")
    limits = table(("Setting", "Default", "Meaning"), rows)
    return _LIMITS.sub(lambda found: f"{found[1]}{limits}\n{found[2]}", page)


def _metric_row(declared: MetricWrapperBase) -> tuple[str, ...]:
    (family,) = declared.describe()
    name = f"{family.name}_total" if family.type == "counter" else family.name
    labels = [_label(declared, name, place) for place, name in enumerate(declared._labelnames)]
    # The library shows neither labels, nor their values, nor the bounds by a public name.
    bounds = getattr(declared, "_upper_bounds", [])[:-1]  # without infinity
    return (
        f"`{name}`",
        family.type,
        "; ".join(labels),
        family.documentation,
        ", ".join(f"{bound:g}" for bound in bounds),
    )


def _label(declared: MetricWrapperBase, name: str, place: int) -> str:
    values = dict.fromkeys(values[place] for values in declared._metrics) or _VALUES.get(name, ())
    return f"`{name}`" + (": " if values else "") + ", ".join(values)


def _as_at_the_start(module: ModuleType) -> ModuleType:
    """A copy of the module of metrics that nothing has been observed in: labels have the values it declares."""
    assert module.__file__
    spec = spec_from_file_location(module.__name__, module.__file__)
    assert spec
    assert spec.loader
    copy = module_from_spec(spec)
    spec.loader.exec_module(copy)
    return copy


def _setting_groups() -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    group = ""
    ours = reversed(Settings.__bases__[:-1])  # the last one is the library's
    for found in _SETTING.finditer("".join(map(inspect.getsource, ours))):
        if found["group"]:
            group = found["group"]
        elif found["name"] in Settings.model_fields:
            groups.setdefault(group, []).append(found["name"])
    return groups


def _default(schema: Mapping[str, Any]) -> str:
    default = schema["default"]
    return "none" if default in (None, "", []) else f"`{default}`"


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table of markdown."""
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)
