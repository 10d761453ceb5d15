"""The `cdk` commands of the documents: the real program knows each option, and chooses the stack that is meant.

With a second region the app has the stacks of two, and the program refuses a command that does not say which it is for.
"""

import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support import node_js
from tests.support.cloud.account import REGION
from tests.support.cloud.assembly import SECOND_REGION, assembly
from tests.support.cloud.deploy import ACCOUNT, ROOT, CdkFailed, Cloud, running_cloud
from tests.support.cloud.deployed import AMI_PARAMETER, FIRST_IMAGE, PARTS
from tests.support.documents import command_lines

COMMAND = re.compile(r"(?:^|[;&|] *)cdk ([a-z-]+)((?: +[^\s;&|>#]+)*)", re.MULTILINE)
VALUES = {
    "$ENVIRONMENT": "prod",
    "$AWS_REGION": REGION,
    "$(aws sts get-caller-identity --query Account --output text)": ACCOUNT,
}
HARMLESS = {
    "bootstrap": (),
    "deploy": ("--require-approval", "never", "--method", "prepare-change-set"),
    "destroy": ("--force",),
    "diff": (),
    "synth": ("--quiet",),
}
"""What keeps each command from doing more than to choose its stacks."""


def commands() -> list[str]:
    """Each command of the documents, with the values of the pages in it."""
    text = "\n".join(line for _, line in command_lines())
    for documented, value in VALUES.items():
        text = text.replace(documented, value)
    return sorted({" ".join(" ".join(match.groups()).split()) for match in COMMAND.finditer(text)})


def choosing() -> list[list[str]]:
    """Those that choose stacks of an environment; `cdk deploy` alone is only a name for what it does."""
    return [words for words in map(shlex.split, commands()) if "-c" in words and words[0] in HARMLESS]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """An account that is ready for a first deploy. No app is where the program runs: each command is given one."""
    with running_cloud(tmp_path_factory.mktemp("cloud")) as running:
        running.bootstrap()
        running.client("ssm").put_parameter(Name=AMI_PARAMETER, Value=FIRST_IMAGE, Type="String")
        running.client("ssm").put_parameter(Name=AMI_PARAMETER.replace("prod", "dev"), Value=FIRST_IMAGE, Type="String")
        yield running


@cache
def synthesised(environment: str, *regions: str) -> Path:
    return assembly(environment, regions)


@cache
def options(command: str) -> set[str]:
    """What the program takes for a command, by its own help."""
    node_js.install(ROOT / "infra")
    program = ROOT / "infra" / "node_modules" / "aws-cdk" / "bin" / "cdk"
    text = subprocess.check_output([node_js.newest_node(), program, command, "--help"], text=True, cwd=program.parent)
    assert text.startswith(f"cdk {command}"), f"cdk has no command {command}"
    return set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", text.partition("Options:")[2]))


@pytest.mark.parametrize("command", commands())
def test_a_documented_command_is_one_of_the_cdk_program(command: str) -> None:
    name, *words = shlex.split(command)
    assert {word for word in words if word.startswith("-")} <= options(name)


def test_there_are_commands_to_check() -> None:
    assert {words[0] for words in choosing()} == set(HARMLESS)
    assert "--no-such" not in options("deploy")


def cases() -> list[tuple[list[str], tuple[str, ...]]]:
    """Each of these with one region and with two; not those that are for all, as AWS on loopback has only one."""
    for_all = [words for words in choosing() if "--all" in words or words[0] == "bootstrap"]
    return [(words, (REGION,)) for words in choosing()] + [
        (words, (REGION, SECOND_REGION)) for words in choosing() if words not in for_all
    ]


@pytest.mark.parametrize(("words", "regions"), cases(), ids=" ".join)
def test_a_documented_command_says_which_stacks_it_is_for(
    cloud: Cloud, words: list[str], regions: tuple[str, ...]
) -> None:
    environment = words[words.index("-c") + 1].removeprefix("env=")
    app = synthesised(environment, *regions)
    output = cloud.cdk("--app", str(app), *words, *HARMLESS[words[0]])
    for part in PARTS:  # what a change set is for
        cloud.client("cloudformation").delete_stack(StackName=f"voicefleet-{environment}-{part}")
    assert SECOND_REGION not in output or words[0] == "synth", "another region is left alone"


def test_a_command_that_does_not_say_so_is_refused_where_there_are_two_regions(cloud: Cloud) -> None:
    app = synthesised("prod", REGION, SECOND_REGION)
    with pytest.raises(CdkFailed, match="specify which stacks to use"):
        cloud.cdk("--app", str(app), "deploy", "-c", "env=prod", *HARMLESS["deploy"])
