"""The fleets of `cdk.json` as `cdk synth` writes them into a folder, for `cdk --app FOLDER`, which is much quicker."""

import copy
import json
from collections.abc import Sequence
from pathlib import Path

from tests.support.cloud.account import REGION
from tests.support.cloud.deploy import ACCOUNT
from tests.support.fleet_template import REPOSITORY

SECOND_REGION = "eu-west-1"


def assembly(environment: str, regions: Sequence[str] = (REGION,), certificate: str = "") -> Path:
    """The folder with the stacks of an environment in these regions, with that certificate if one is given."""
    from infra.app import make_app

    context = copy.deepcopy(json.loads((REPOSITORY / "cdk.json").read_text(encoding="utf-8"))["context"])
    chosen = context["environments"][environment]
    chosen["regions"] = {region: {} for region in regions}
    if certificate:
        chosen["load_balancer"]["certificate_arn"] = certificate
    zones = {  # which the program would ask AWS for
        f"availability-zones:account={ACCOUNT}:region={region}": [f"{region}{zone}" for zone in "abc"]
        for region in regions
    }
    return Path(make_app({**context, **zones, "env": environment}).synth().directory)
