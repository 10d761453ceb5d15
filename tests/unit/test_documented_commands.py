"""The `aws` commands of the documentation: each is an operation that there is, with parameters that it takes."""

import re
import shlex
from functools import cache
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
INLINE = re.compile(r"`(aws [^`]+)`")
COMMAND = re.compile(r"\baws ([a-z0-9-]+) ([a-z-]+)((?:'[^']*'|\"(?:\\.|[^\"\\])*\"|[^\n'\")|;])*)")
OF_EVERY_COMMAND = {"query", "output", "region", "max-items"}
OF_THE_CLI_ALONE = {("s3", "sync"), ("logs", "tail"), ("acm", "wait")}


def commands() -> list[tuple[str, str, str]]:
    """Service, operation and arguments of each command of every page."""
    found = set()
    for page in DOCS.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        for part in [*BLOCK.findall(text), *(one.replace("\n", " ") for one in INLINE.findall(text))]:
            found.update(COMMAND.findall(part.replace("\\\n", " ").replace("\\`", "`")))
    return sorted(one for one in found if one[:2] not in OF_THE_CLI_ALONE)


@cache
def parameters(service: str) -> dict[str, set[str]]:
    """What each operation of a service takes, as the command line names it."""
    model = botocore.session.Session().get_service_model(service)
    return {
        xform_name(name, "-"): {xform_name(member, "-") for member in shape.members} if shape else set()
        for name in model.operation_names
        for shape in [model.operation_model(name).input_shape]
    }


@pytest.mark.parametrize(("service", "operation", "arguments"), commands())
def test_a_documented_command_is_one_of_the_aws_cli(service: str, operation: str, arguments: str) -> None:
    known = parameters(service)
    assert operation in known
    given = {word[2:] for word in shlex.split(arguments) if word.startswith("--")}
    assert {name.removeprefix("no-") for name in given} <= known[operation] | OF_EVERY_COMMAND


def test_there_are_commands_to_check() -> None:
    assert len(commands()) > 20
    assert "no-such" not in parameters("autoscaling")["set-instance-health"]
