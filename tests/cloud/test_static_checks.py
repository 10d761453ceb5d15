"""The templates as strangers check them: cdk-nag at synthesis, cfn-lint, checkov.

What is accepted is in `infra/accepted_findings.py`; each entry there has to be found still.
"""

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.accepted_findings import CFN_LINT, CHECKOV
from tests.support.fleet_template import fleet_templates

_CFN_LINT = Path(sys.executable).with_name("cfn-lint")
_CHECKOV = Path(sys.prefix) / "checkov" / "bin" / "checkov"
SHIPPED = ("dev", "prod")


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The shipped environments' templates, which cdk-nag has passed, or there would be none; and a broken one."""
    folder = tmp_path_factory.mktemp("templates")
    made = {f"{name}-{part}": body for name in SHIPPED for part, body in fleet_templates(name).items()}
    made["broken-fleet"] = _broken(fleet_templates("dev")["fleet"])
    paths = {name: folder / f"{name}.json" for name in made}
    for name, path in paths.items():
        path.write_text(json.dumps(made[name], indent=1), encoding="utf-8")
    return paths


def _broken(template: dict[str, Any]) -> dict[str, Any]:
    template = copy.deepcopy(template)
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::EC2::LaunchTemplate":
            resource["Properties"]["LaunchTemplateData"]["MetadataOptions"]["HttpTokens"] = "optional"
        if resource["Type"] == "AWS::AutoScaling::AutoScalingGroup":
            resource["Properties"]["MinSizes"] = "1"
    return template


def test_cfn_lint_finds_what_is_accepted_and_nothing_else(templates: dict[str, Path]) -> None:
    findings = json.loads(_run(_CFN_LINT, "--format", "json", "--template", *templates.values()))

    found = [(_environment(finding["Filename"]), finding["Rule"]["Id"]) for finding in findings]
    for name in SHIPPED:
        assert {rule for template, rule in found if template == name} == CFN_LINT.keys(), findings
    assert ("broken", "E3002") in found, "a property that there is not"


def test_checkov_finds_what_is_accepted_and_nothing_else(templates: dict[str, Path]) -> None:
    assert _CHECKOV.exists(), "checkov is missing: `make .venv/.checkov` installs it"
    files = [part for path in templates.values() for part in ("--file", path)]
    report = json.loads(_run(_CHECKOV, *files, "--framework", "cloudformation", "--output", "json", "--skip-download"))

    failed = [(_environment(f["file_path"]), f["check_id"], f["resource"]) for f in report["results"]["failed_checks"]]
    for name in SHIPPED:
        assert {check for template, check, _ in failed if template == name} == CHECKOV.keys(), failed
    assert ("broken", "CKV_AWS_79") in {finding[:2] for finding in failed}, "metadata without a token"
    assert report["summary"]["parsing_errors"] == 0


def _environment(file: str) -> str:
    """Of which environment a template is."""
    return Path(file).stem.partition("-")[0]


def _run(*command: str | Path) -> str:
    """What it wrote; both end with an error when they find something."""
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout
