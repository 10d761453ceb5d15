"""Environments as the context of `cdk.json` holds them; what is wrong there is refused by name.

`environments.NAME` holds an environment, its `regions` what is different in each; `-c env=NAME` chooses it.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from infra.config.environment import Environment
from server.errors import VoicefleetError

# In JSON's words; pydantic has Python's.
_OPTIONS = "takes options by name, in braces"
_TAKES = {"dict_type": _OPTIONS, "model_type": _OPTIONS, "tuple_type": "takes a list, in brackets"}


class ConfigError(VoicefleetError):
    """The context of `cdk.json` is wrong; the message has a line for each value."""


def load_environments(environments: Mapping[str, Any], name: str, account: str = "") -> list[Environment]:
    """The environment `name` of the `environments` of `cdk.json`, once for each region. Raises `ConfigError`.

    `account` is that of the credentials at hand, for an environment that names none.
    """
    if name not in _options("environments", environments):
        raise ConfigError(f"env: got {name!r}; takes an environment of cdk.json: {', '.join(sorted(environments))}")
    shared = {"account": account, **_options(name, environments[name])}
    regions = shared.pop("regions", None)
    if not isinstance(regions, Mapping) or not regions:
        raise ConfigError(f"{name}.regions: got {regions!r}; takes a region or more, each with what is different there")
    return [
        _environment(name, region, _laid_over(shared, _options(f"{name}.regions.{region}", own)))
        for region, own in regions.items()
    ]


def _options(where: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: got {value!r}; {_OPTIONS}")
    return value


def _environment(name: str, region: str, options: Mapping[str, Any]) -> Environment:
    try:
        return Environment.model_validate({**options, "name": name, "region": region})
    except ValidationError as error:
        raise ConfigError(_explain(error, f"{name} ({region})")) from None


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`below`, with the values of `above` in place of its own, part by part."""
    joined = dict(below)
    for key, value in above.items():
        own = joined.get(key)
        joined[key] = _laid_over(own, value) if isinstance(own, Mapping) and isinstance(value, Mapping) else value
    return joined


def _explain(error: ValidationError, prefix: str) -> str:
    """A line for each wrong value: where it is, what it is unless that may be a secret, what would be accepted."""
    lines = []
    problems = error.errors(include_url=False)
    for problem in problems:
        if any(other["loc"] and other["loc"][:-1] == problem["loc"] for other in problems):
            continue  # what is wrong is inside it; that it would be too short without that tells nobody anything
        where = ": ".join(filter(None, [prefix, ".".join(map(str, problem["loc"]))]))
        match problem["type"]:
            case "extra_forbidden":
                lines.append(f"{where}: no such option")
            case "missing":
                lines.append(f"{where}: has to be given")
            case "fault":
                lines.append(f"{where}: {problem['msg']}")
            case _:
                takes = _TAKES.get(problem["type"], problem["msg"].removeprefix("Value error, "))
                may_be_secret = problem["loc"] == ("node",) or problem["loc"][:2] == ("node", "settings")
                got = "a value that is not shown" if may_be_secret else repr(problem["input"])
                lines.append(f"{where}: got {got}; {takes}")
    return "\n".join(lines)
