"""The template of a whole fleet as `cdk synth` makes it."""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.node_js import newest_node

os.environ["JSII_NODE"] = str(newest_node())  # before aws_cdk starts one
os.environ["CDK_DEFAULT_ACCOUNT"] = "123456789012"  # the `cdk` program sets it, if it has credentials

REPOSITORY = Path(__file__).parents[2]


@cache
def fleet_template(environment: str = "prod") -> dict[str, Any]:
    """The template of an environment of `cdk.json` in the first of its regions."""
    from infra.app import make_app

    context = json.loads((REPOSITORY / "cdk.json").read_text(encoding="utf-8"))["context"]
    template: dict[str, Any] = make_app({**context, "env": environment}).synth().stacks[0].template
    return template
