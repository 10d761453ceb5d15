"""The project's own CDK CLI against AWS on loopback: bootstrap and deploy as an operator does them.

Nothing here reaches a network: the keys are no keys, the home folder is empty, and the CLI neither reports nor asks
for its newest version.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import trustme

from tests.support import node_js
from tests.support.cloud.account import REGION, Account
from tests.support.ports import free_ports

ROOT = Path(__file__).parents[3]
ACCOUNT = "123456789012"
_CLI = ROOT / "infra" / "node_modules" / "aws-cdk" / "bin" / "cdk"
_APP = f"{sys.executable} -m infra.app"
_START_SECONDS = 180.0  # of a machine that is busy with other tests
_STOP_SECONDS = 10.0
_CLI_SECONDS = 240.0
_QUIET = ("--no-notices", "--no-version-reporting", "--no-color", "--ci")


@dataclass(frozen=True)
class Cloud(Account):
    """An account with nothing in it, and an empty folder for whoever deploys to it."""

    home: Path

    def cdk(self, *arguments: str) -> str:
        """Run the CLI in the folder `home`; gives what it wrote. Raises `CdkFailed`."""
        node_js.install(ROOT / "infra")
        node = node_js.newest_node()
        result = subprocess.run(
            [node, _CLI, *arguments, *_QUIET],
            cwd=self.home,
            env=_without_aws(os.environ)
            | self.variables
            | {
                "HOME": str(self.home),
                "CDK_HOME": str(self.home / "cdk"),
                "CDK_DISABLE_CLI_TELEMETRY": "true",
                "CDK_DISABLE_VERSION_CHECK": "true",
                "JSII_NODE": str(node),
                "PYTHONPATH": str(ROOT),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_CLI_SECONDS,
            check=False,
        )
        if result.returncode:
            raise CdkFailed(f"cdk {' '.join(arguments)} failed:\n{result.stdout}")
        return result.stdout

    def import_certificate(self, name: str) -> str:
        """A certificate of the operator's for that host name; gives its ARN."""
        return import_certificate(self.client("acm"), name)

    def bootstrap(self) -> None:
        """What an account needs once."""
        self.cdk("bootstrap", f"aws://{ACCOUNT}/{REGION}")

    def deploy(self, context: Mapping[str, Any], *arguments: str, app: str = _APP) -> None:
        """Deploy all stacks with the context that `cdk.json` would have. An update needs `--method direct` here."""
        (self.home / "cdk.json").write_text(json.dumps({"app": app, "context": context}), encoding="utf-8")
        self.cdk("deploy", "--all", "--require-approval", "never", *arguments)


class CdkFailed(Exception):
    """The CLI ended with an error; the message holds all it wrote."""


def import_certificate(acm: Any, name: str) -> str:
    """The same with a client of ACM."""
    authority = trustme.CA()
    issued = authority.issue_cert(name)
    imported = acm.import_certificate(
        Certificate=issued.cert_chain_pems[0].bytes(),
        PrivateKey=issued.private_key_pem.bytes(),
        CertificateChain=authority.cert_pem.bytes(),
    )
    return str(imported["CertificateArn"])


@contextmanager
def running_cloud(home: Path) -> Iterator[Cloud]:
    """A cloud with nothing in it, on a free port, until the block ends."""
    (port,) = free_ports(1)
    with (home / "cloud.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.cloud.server", str(port)],
            cwd=ROOT,
            env=_without_aws(os.environ),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            url = f"http://localhost:{port}"
            _wait_for(url, process)
            yield Cloud(url, home)
        finally:
            process.terminate()
            process.wait(_STOP_SECONDS)


def _without_aws(variables: "os._Environ[str]") -> dict[str, str]:
    return {name: value for name, value in variables.items() if not name.startswith(("AWS_", "CDK_"))}


def _wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "the cloud ended at its start; see cloud.log"
        try:
            with urlopen(f"{url}/moto-api/data.json", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(f"no answer from {url} in {_START_SECONDS:g} s")
