"""Lists what is installed as a CycloneDX 1.5 bill of materials, on standard output.

    python3 sbom.py dpkg
    python3 sbom.py python SITE_PACKAGES

It lists what the package managers know, with their licences where they tell them, and looks into no file. It needs no
more than the image's own Python, so that nothing is installed on a node only to list what is installed.
"""

import argparse
import json
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

_DPKG_FIELDS = r"${db:Status-Status}\t${Package}\t${Version}\t${Architecture}\n"


def dpkg(listing: str, distribution: str) -> Iterator[dict[str, Any]]:
    """A component for each installed package of dpkg-query's listing."""
    for line in listing.splitlines():
        status, name, version, architecture = line.split("\t")
        if status == "installed":
            yield _component(
                name, version, f"pkg:deb/{distribution}/{quote(name)}@{quote(version)}?arch={architecture}"
            )


def python(site_packages: Path) -> Iterator[dict[str, Any]]:
    """A component for each distribution in that folder."""
    for found in distributions(path=[str(site_packages)]):
        name = re.sub(r"[-_.]+", "-", found.name).lower()
        component = _component(name, found.version, f"pkg:pypi/{name}@{quote(found.version)}")
        for expression in found.metadata.get_all("License-Expression", ()):
            component["licenses"] = [{"expression": expression}]
        yield component


def bill(components: list[dict[str, Any]]) -> dict[str, Any]:
    """The document."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
            "component": {"type": "operating-system", "name": "voicefleet-node"},
        },
        "components": sorted(components, key=lambda component: str(component["bom-ref"])),
    }


def main() -> None:
    """Print the bill."""
    parser = argparse.ArgumentParser(description="What is installed, as a CycloneDX bill of materials.")
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("dpkg")
    kinds.add_parser("python").add_argument("site_packages", type=Path)
    arguments = parser.parse_args()
    if arguments.kind == "python":
        components = list(python(arguments.site_packages))
    else:
        query = ["dpkg-query", "--show", "--showformat", _DPKG_FIELDS]
        listing = subprocess.run(query, stdout=subprocess.PIPE, text=True, check=True).stdout
        components = list(dpkg(listing, _distribution()))
    json.dump(bill(components), sys.stdout, indent=1)


def _component(name: str, version: str, purl: str) -> dict[str, Any]:
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _distribution() -> str:
    release = Path("/etc/os-release").read_text(encoding="utf-8")
    identity = re.search(r'^ID="?(\w+)', release, re.MULTILINE)
    assert identity, "an os-release without ID"
    return identity[1]


if __name__ == "__main__":
    main()
