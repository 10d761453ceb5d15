"""The CDK app: `cdk deploy -c env=NAME` makes a stack for each region of that environment of `cdk.json`."""

import sys
from collections.abc import Mapping
from typing import Any

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks

from infra.config import ConfigError, load_environments
from infra.stack import VoicefleetStack


def make_app(context: Mapping[str, Any] | None = None) -> cdk.App:
    """The app of the environment that `context` names: a stack for each of its regions. Raises `ConfigError`.

    Without a context it takes the one that the `cdk` program hands over: that of `cdk.json`, and `-c` over it.
    """
    app = cdk.App(context=context)
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
