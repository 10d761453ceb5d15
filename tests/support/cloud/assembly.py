"""The fleets of `cdk.json` as `cdk synth` writes them into a folder, for `cdk --app FOLDER`, which is much quicker."""

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.cloud.account import REGION
from tests.support.cloud.deploy import ACCOUNT
from tests.support.fleet_template import REPOSITORY

SECOND_REGION = "eu-west-1"


def assembly(environment: str, regions: Sequence[str] = (REGION,), certificate: str = "") -> Path:
    """The folder with the stacks of an environment in these regions, with that certificate if one is given."""
    from infra.app import make_app

    context = copy.deepcopy(json.loads((REPOSITORY / "cdk.json").read_text(encoding="utf-8"))["context"])
    chosen = context["environments"][environment]
    if certificate:
        chosen["load_balancer"]["certificate_arn"] = certificate
    chosen["regions"] = {region: of_region(region) for region in regions}
    return Path(make_app({**context, "env": environment}).synth().directory)


def of_region(region: str) -> dict[str, Any]:
    """What an environment of `cdk.json` has to say of a region."""
    if region == REGION:
        return {}
    return {
        "load_balancer": {"certificate_arn": f"arn:aws:acm:{region}:{ACCOUNT}:certificate/0000-0000"},
        "node": {"bedrock_model": f"{region[:2]}.amazon.nova-lite-v1:0"},
    }
