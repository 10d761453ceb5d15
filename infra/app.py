"""The CDK app: `cdk deploy -c env=NAME ...` makes that environment of `cdk.json` in each of its regions."""

import os
import sys
from collections.abc import Mapping
from typing import Any

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks

from infra.config import ConfigError, load_environments
from infra.stacks import fleet_in_stacks


def make_app(context: Mapping[str, Any] | None = None) -> cdk.App:
    """The app of the environment that `context` names: four stacks for each of its regions. Raises `ConfigError`.

    Without a context it takes the one that the `cdk` program hands over: that of `cdk.json`, and `-c` over it.
    """
    app = cdk.App(context=context)
    # What one stack reads of another one is an output that can still change and go. As an export, which is the default,
    # it would be locked for as long as anybody reads it: a zone could not be taken out, nor an alarm.
    cdk.CrossStackReferences.of(app).consume(cdk.ReferenceStrength.WEAK)
    environments = app.node.try_get_context("environments") or {}
    # The program sets it, if it has credentials.
    account = os.environ.get("CDK_DEFAULT_ACCOUNT", "")
    for environment in load_environments(environments, app.node.try_get_context("env"), account):
        fleet_in_stacks(app, environment)
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    return app


if __name__ == "__main__":
    try:
        make_app().synth()
    except ConfigError as error:
        sys.exit(str(error))
