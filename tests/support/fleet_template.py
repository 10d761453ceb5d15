"""The templates of a fleet as `cdk synth` makes them."""

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
def fleet_templates(environment: str = "prod") -> dict[str, dict[str, Any]]:
    """The template of each stack (data, network, observability, fleet) of an environment of `cdk.json`."""
    from infra.app import make_app

    context = json.loads((REPOSITORY / "cdk.json").read_text(encoding="utf-8"))["context"]
    stacks = make_app({**context, "env": environment}).synth().stacks
    return {stack.stack_name.rpartition("-")[2]: stack.template for stack in stacks}


@cache
def fleet_template(environment: str = "prod") -> dict[str, Any]:
    """All of them as one."""
    from infra.cost import joined

    return joined(fleet_templates(environment).values())
