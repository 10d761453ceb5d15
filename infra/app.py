"""The CDK app: `cdk deploy -c env=NAME` makes a stack for each region of that environment of `cdk.json`."""

import sys
from collections.abc import Mapping
from typing import Any

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks

from infra.config import ConfigError, load_environments
from infra.stack import VoicefleetStack

_MOST_ZONES = 3  # that `network.zones` takes
_ZONES_FALLBACK = "aws:cdk:availability-zones:fallback"  # as the CDK names it


def make_app(context: Mapping[str, Any] | None = None) -> cdk.App:
    """The app of the environment that `context` names: a stack for each of its regions. Raises `ConfigError`.

    Without a context it takes the one that the `cdk` program hands over: that of `cdk.json`, and `-c` over it.
    """
    app = cdk.App(context=context)
    # Without credentials there is no asking which zones the account has, and the CDK would leave it at two: another
    # fleet than the one that is deployed, and a cheaper one. Which they are is left to CloudFormation.
    app.node.set_context(_ZONES_FALLBACK, [cdk.Fn.select(n, cdk.Fn.get_azs()) for n in range(_MOST_ZONES)])
    environments = app.node.try_get_context("environments")
    for environment in load_environments(environments or {}, app.node.try_get_context("env")):
        VoicefleetStack(app, f"{environment.fleet_name}-{environment.region}", environment)
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    return app


if __name__ == "__main__":
    try:
        make_app().synth()
    except ConfigError as error:
        sys.exit(str(error))
