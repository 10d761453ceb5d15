"""`image/checks/sbom.py`: what is installed, as CycloneDX documents."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parents[2] / "image" / "checks" / "sbom.py"


def bill(*arguments: str, **variables: str) -> dict[str, Any]:
    """What the script prints, run as on the image: by itself, without the project's packages."""
    command = [sys.executable, "-I", "-S", str(SCRIPT), *arguments]
    printed = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=True).stdout
    document: dict[str, Any] = json.loads(printed)
    assert (document["bomFormat"], document["specVersion"], document["version"]) == ("CycloneDX", "1.5", 1)
    references = [component["bom-ref"] for component in document["components"]]
    assert len(references) == len(set(references))
    return document


def test_the_python_packages_of_a_folder(tmp_path: Path) -> None:
    for name, fields in {"An_Odd.Name": "License-Expression: MIT OR Apache-2.0\n", "plain": ""}.items():
        folder = tmp_path / f"{name}-1.0+cu128.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0+cu128\n{fields}")
    odd, plain = bill("python", str(tmp_path))["components"]
    assert (odd["name"], odd["version"], odd["purl"]) == (
        "an-odd-name",
        "1.0+cu128",
        "pkg:pypi/an-odd-name@1.0%2Bcu128",
    )
    assert odd["licenses"] == [{"expression": "MIT OR Apache-2.0"}]
    assert "licenses" not in plain


def test_the_environment_of_these_tests() -> None:
    site_packages = next(path for path in sys.path if path.endswith("site-packages"))
    found = {component["name"]: component["version"] for component in bill("python", site_packages)["components"]}
    assert found["pytest"] == version("pytest")


def test_the_packages_of_the_distribution(tmp_path: Path) -> None:
    query = tmp_path / "dpkg-query"
    query.write_text(
        "#!/bin/sh\n"
        r"printf 'installed\tlibstdc++6\t14.2.0-4ubuntu2\tamd64\n'"
        "\n"
        r"printf 'installed\tdatacenter-gpu-manager-4-core\t1:4.5.2-1\tamd64\nconfig-files\tgone\t1\tall\n'"
        "\n"
    )
    query.chmod(0o755)
    components = bill("dpkg", PATH=f"{tmp_path}:{os.environ['PATH']}")["components"]
    assert [component["name"] for component in components] == ["datacenter-gpu-manager-4-core", "libstdc++6"]
    dcgm, library = (component["purl"] for component in components)
    assert dcgm.endswith("/datacenter-gpu-manager-4-core@1%3A4.5.2-1?arch=amd64")
    assert library.endswith("/libstdc%2B%2B6@14.2.0-4ubuntu2?arch=amd64")
