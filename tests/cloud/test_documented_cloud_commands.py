"""The pages for operators, pasted block by block into a shell whose AWS is on loopback: deploying, then the runbook."""

import json
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import node_js
from tests.support.cloud.account import REGION
from tests.support.cloud.assembly import SECOND_REGION, assembly
from tests.support.cloud.deploy import ROOT, Cloud, running_cloud
from tests.support.cloud.deployed import FIRST_IMAGE
from tests.support.documents import REPOSITORY, Block, blocks
from tests.support.pasted import Reader

CDK = REPOSITORY / "infra" / "node_modules" / ".bin" / "cdk"
PROGRAMS = {
    # There is such a target; everything is installed already.
    "make": f'#!/bin/sh\nexec {shutil.which("make")} --dry-run "$@"\n',
    "aws": f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m tests.support.cloud.aws_cli "$@"\n',
    # Nobody is there to say yes, and the stand-in for AWS updates a stack without a change set only.
    # Of the app, which takes long to start, one command is enough; the others get what it would make.
    "infra/node_modules/.bin/cdk": f"""#!/bin/sh
case $1 in
deploy) exec {CDK} --app $ASSEMBLY "$@" --require-approval never --method direct ;;
*) exec {CDK} "$@" ;;
esac
""",
}


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """An account with nothing in it."""
    with running_cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def operator(aws: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """Somebody who has deployed a fleet by pasting docs/deploy.md."""
    node_js.install(ROOT / "infra")
    home = tmp_path_factory.mktemp("operator")
    variables = aws.variables | {"CDK_HOME": str(home), "CDK_DISABLE_CLI_TELEMETRY": "true", "CI": "true"}
    variables |= {"JSII_NODE": str(node_js.newest_node()), "TERM": "dumb"}
    variables["ASSEMBLY"] = str(assembly("prod", certificate=aws.import_certificate("voice.example.com")))
    # The fleet of another region is asked for in the only one there is.
    reader = Reader(home, variables, {"ami-...": FIRST_IMAGE, SECOND_REGION: REGION}, PROGRAMS)
    for block in of("docs/deploy.md"):
        reader.paste(block)
    return reader


def of(page: str) -> list[Block]:
    """The blocks of a page that are for AWS."""
    return [
        block
        for block in blocks()
        if block.page == REPOSITORY / page and block.language == "sh" and block.note == "cloud"
    ]


def group(aws: Cloud) -> dict[str, Any]:
    """The fleet's Auto Scaling group."""
    autoscaling = aws.client("autoscaling")
    (found,) = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=["voicefleet-prod"])["AutoScalingGroups"]
    return dict(found)


def test_who_pastes_the_page_on_deploying_has_a_fleet_and_a_key(aws: Cloud, operator: Reader) -> None:
    assert group(aws)["MinSize"] == 2
    secret = aws.client("secretsmanager").get_secret_value(SecretId="voicefleet/prod/keys")
    keys = json.loads(secret["SecretString"])
    _, line = (operator.folder / "new-key").read_text(encoding="utf-8").splitlines()
    assert line == f"VOICE_API_KEYS={keys['api_keys']}"
    assert len(keys["token_secret"]) == 64


def test_every_command_of_the_runbook_can_be_given(aws: Cloud, operator: Reader) -> None:
    for block in of("docs/runbook.md"):
        operator.replaced["i-..."] = group(aws)["Instances"][-1]["InstanceId"]  # some commands end a node
        operator.paste(block)
    assert group(aws)["MinSize"] == 6, "the floor that was raised by hand"


def test_the_dashboards_can_be_drawn_before_anything_is_deployed(operator: Reader) -> None:
    for block in of("docs/dashboards.md"):
        operator.paste(block)
    pictures = sorted(path.name for path in (operator.folder / "pictures").iterdir())
    assert pictures == sorted(path.name for path in (REPOSITORY / "docs" / "dashboards").glob("*.png"))
