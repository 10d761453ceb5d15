"""The commands, links and examples of the documents: each is one that there is.

They are pasted and run by `tests/integration/test_documented_snippets.py` and
`tests/cloud/test_documented_cloud_commands.py`. For `cdk` see `tests/cloud/test_documented_cdk_commands.py`.
"""

import json
import re
import shlex
import subprocess
from functools import cache
from pathlib import Path

import botocore.session
import pytest
import typer.main
from botocore import xform_name
from typer.core import TyperGroup

from infra.config import load_environments
from server.main import WithDefault, cli
from server.models.catalogue import required_models
from server.settings.settings import PREFIX, Settings
from tests.support.documents import PAGES, PROGRAMS, REPOSITORY, Block, blocks, command_lines

AWS = re.compile(r"\baws ([a-z0-9-]+) ([a-z-]+)((?:'[^']*'|\"(?:\\.|[^\"\\])*\"|[^\n'\")|;])*)")
VOICEFLEET = re.compile(r"(?:^|[\s&|(]|\.venv/bin/)voicefleet ([a-z]+(?![\w/.])(?: [^\s;&|>#)]+)*)")
MODULE = re.compile(r"python3? -m ((?:image|infra|server|tests)\b[\w.]*)((?: +[^\s;&|>#]+)*)")
OF_EVERY_COMMAND = {"query", "output", "region", "max-items"}
OF_THE_CLI_ALONE = {("s3", "sync"), ("logs", "tail"), ("acm", "wait"), ("ssm", "start-session")}
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")
DEPLOY = REPOSITORY / "docs" / "deploy.md"
TURNS = ("Worse:", "wish waits", "excuses none", "is the wall", "they lie", "what a caller lives", "but for its row")
NOTES = ("file ", "until ", "cloud", "none, ")


def aws_commands() -> list[tuple[str, str, str]]:
    """Service, operation and arguments of each command."""
    found = {match for _, line in command_lines() for match in AWS.findall(line.replace("\\`", "`"))}
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


@pytest.mark.parametrize(("service", "operation", "arguments"), aws_commands())
def test_a_documented_command_is_one_of_the_aws_cli(service: str, operation: str, arguments: str) -> None:
    known = parameters(service)
    assert operation in known
    given = {word[2:] for word in shlex.split(arguments) if word.startswith("--")}
    assert {name.removeprefix("no-") for name in given} <= known[operation] | OF_EVERY_COMMAND


def test_there_are_commands_to_check() -> None:
    assert len(aws_commands()) > 20
    assert "no-such" not in parameters("autoscaling")["set-instance-health"]
    assert len(voicefleet_commands()) > 10
    assert len(modules()) > 5


def voicefleet_commands() -> list[str]:
    """The words after the program's name."""
    return sorted({words.strip() for _, line in command_lines() for words in VOICEFLEET.findall(line)})


@pytest.mark.parametrize("words", voicefleet_commands())
def test_a_documented_command_is_one_of_ours(words: str) -> None:
    program = command = typer.main.get_command(cli)
    given = shlex.split(words)
    while isinstance(command, TyperGroup) and given and given[0] in command.commands:
        command = command.commands[given.pop(0)]
    assert command is not program, "there is such a command"
    if isinstance(command, WithDefault):
        command = next(iter(command.commands.values()))
    options = {name for option in command.params for name in option.opts}
    assert {word for word in given if word.startswith("-")} <= options | {"--help"}


def modules() -> list[tuple[str, str]]:
    """Each module that is run, with what follows it."""
    return sorted({match for _, line in command_lines() for match in MODULE.findall(line)})


@pytest.mark.parametrize(("module", "arguments"), modules())
def test_a_documented_module_is_there_and_takes_its_options(module: str, arguments: str) -> None:
    file = REPOSITORY.joinpath(*module.split("."))
    source = next(path for path in (file.with_suffix(".py"), file / "__main__.py") if path.exists()).read_text("utf-8")
    for option in (word[2:] for word in shlex.split(arguments) if word.startswith("--")):
        assert f'"--{option}"' in source or re.search(rf"\b{option.replace('-', '_')}: ", source), option


# --- blocks


def programs() -> list[Block]:
    return [block for block in blocks() if block.language in PROGRAMS]


@pytest.mark.parametrize("block", programs(), ids=lambda block: block.name)
def test_a_block_can_be_pasted_and_its_comment_says_what_a_test_does_with_it(block: Block) -> None:
    assert not block.note or block.note.startswith(NOTES)
    if block.language == "sh":
        parsed = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
        assert parsed.stderr == ""
        placeholder = re.search(r"<[a-z ]+>", block.text)
        assert not placeholder, "a shell takes < for the name of a file"


def test_a_block_is_run_as_what_it_is_written_as() -> None:
    assert {block.language for block in blocks()} <= PROGRAMS | {"", "json", "xml"}


# --- links


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_a_link_leads_somewhere(page: Path) -> None:
    for path, section in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in path:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        assert not section or section in sections(target), f"{path}#{section}"


@cache
def sections(page: Path) -> set[str]:
    """What its headings are called in a link."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# --- words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_a_page_has_none_of_the_turns_that_stopped_its_first_readers(page: Path) -> None:
    text = " ".join(page.read_text(encoding="utf-8").split())
    assert [turn for turn in TURNS if turn in text] == []


@pytest.mark.parametrize(
    ("project", "package", "pages"),
    [
        ("tests/integration/node_clients", "node_modules/openai", ["README.md", "docs/clients.md"]),
        ("examples/node", "", ["examples/node/README.md"]),
    ],
)
def test_the_documented_version_of_node_is_what_the_packages_ask_for(
    project: str, package: str, pages: list[str]
) -> None:
    packages = json.loads((REPOSITORY / project / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    major = re.match(r">=(\d+)", packages[package]["engines"]["node"])
    assert major
    for page in pages:
        assert f"Node {major[1]} or newer" in (REPOSITORY / page).read_text(encoding="utf-8")


# --- the environment that docs/deploy.md shows


def test_the_documented_environment_is_taken_and_its_models_are_those_that_fill_the_bucket() -> None:
    (shown,) = [block.text for block in blocks() if block.page == DEPLOY and block.language == "json"]
    (prod,) = load_environments(json.loads(f"{{{shown}}}"), "prod")
    settings = {name.removeprefix(PREFIX).lower(): value for name, value in prod.node.settings.items()}
    needed = required_models(Settings.model_validate({**settings, "llm": f"bedrock:{prod.node.bedrock_model}"}))
    (pulled,) = [words for words in voicefleet_commands() if words.startswith("models pull ") and "base" in words]
    assert set(pulled.split()[2:]) == set(needed)
    shipped = json.loads((REPOSITORY / "cdk.json").read_text(encoding="utf-8"))["context"]["environments"]
    assert all(environment["node"]["settings"] == prod.node.settings for environment in shipped.values())
