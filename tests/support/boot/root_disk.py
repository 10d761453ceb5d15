"""A root disk made by the very scripts of `image/provision`, on this machine's distribution, without what needs a GPU.

What is unlike a node's image: Debian in Ubuntu's place, an agent to look inside with, and `files/`. Downloads are kept
in a folder that may be missing; so is the disk, until something changes that it is made of. Making it takes root's
rights.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
CACHE = Path.home() / ".cache/voicefleet/boot"
_HERE = Path(__file__).parent
_BUILD = _HERE / "build-root.sh"
_PROJECT = ("image", "server", "requirements", "pyproject.toml", "README.md", "LICENSE")
_LOCKS = ("base", "bootstrap")
_BUILD_SECONDS = 1200.0


@dataclass(frozen=True)
class RootDisk:
    """What a machine starts from, and what provisioning said."""

    folder: Path

    @property
    def image(self) -> Path:
        """A raw ext4 file system. Machines write over it, not into it."""
        return self.folder / "root.img"

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd.img"

    @property
    def log(self) -> str:
        """Everything that was written while it was made; the report of the space stands at its end."""
        return (self.folder / "build.log").read_text(encoding="utf-8")


class BuildFailed(Exception):
    """The disk could not be made; the message holds the end of what was written."""


def root_disk() -> RootDisk:
    """The disk of the working tree as it is. Raises `BuildFailed`."""
    files = list(_project_files())
    disk = RootDisk(CACHE / f"disk-{_digest(files)}")
    if not disk.image.exists():
        for older in CACHE.glob("disk-*"):
            shutil.rmtree(older)
        _build(disk.folder, files)
    return disk


def _project_files() -> Iterator[Path]:
    """What is in git of the parts that the image is made from, below the project's root."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *_PROJECT],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    for name in sorted(set(listed.stdout.split("\0"))):
        if name and (ROOT / name).is_file():
            yield Path(name)


def _digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    added = sorted(path for path in (_HERE / "files").rglob("*") if path.is_file())
    for path in [*(ROOT / name for name in files), _BUILD, *added]:
        digest.update(f"{path.relative_to(ROOT)} {path.stat().st_mode} ".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _build(folder: Path, files: list[Path]) -> None:
    if os.geteuid():
        raise BuildFailed("a root disk is made by root, who may mount and chroot; run it with sudo")
    work = folder.with_suffix(".making")
    shutil.rmtree(work, ignore_errors=True)
    for name in files:
        (work / "project" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, work / "project" / name)
    shutil.copytree(_HERE / "files", work / "files")
    packages, wheels = CACHE / "packages", CACHE / "wheels"
    for kept in (packages, wheels):
        kept.mkdir(parents=True, exist_ok=True)
    _download_wheels(wheels)
    shutil.copytree(packages, work / "packages")
    shutil.copytree(wheels, work / "sources/wheels")
    (work / "sources/pip.conf").write_text(
        "[global]\nno-index = true\nfind-links = /run/build/sources/wheels\n", encoding="utf-8"
    )
    codename = _release()["VERSION_CODENAME"]
    (work / "apt.list").write_text("\n".join(_apt_sources(codename)) + "\n", encoding="utf-8")
    log = work / "build.log"
    with log.open("w", encoding="utf-8") as out:
        done = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", _BUILD, work, codename],
            stdout=out,
            stderr=subprocess.STDOUT,
            timeout=_BUILD_SECONDS,
            check=False,
        )
    if done.returncode:
        raise BuildFailed("\n".join(log.read_text(encoding="utf-8").splitlines()[-40:]))
    shutil.copytree(work / "packages", packages, dirs_exist_ok=True)
    for needless in ("project", "files", "packages", "sources"):
        shutil.rmtree(work / needless)
    work.rename(folder)


def _download_wheels(folder: Path) -> None:
    """What the locks name, for Debian's Python, from wherever this machine's pip takes packages."""
    for lock in _LOCKS:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--python-version=3.11"]
        command += ["--require-hashes", "--requirement", str(ROOT / f"requirements/{lock}.txt"), "--dest", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False)
        if done.returncode:
            raise BuildFailed(done.stderr)


def _release() -> dict[str, str]:
    lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    return {name: value.strip('"') for name, _, value in (line.partition("=") for line in lines)}


def _apt_sources(codename: str) -> list[str]:
    """The archives of the distribution itself that this machine's apt is set up with, a line each."""
    suites = {codename, f"{codename}-updates", f"{codename}-security"}
    lines = []
    for file in [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*.list"))]:
        if file.exists():
            lines += [line for line in file.read_text(encoding="utf-8").splitlines() if suites & set(line.split()[2:4])]
    for file in sorted(Path("/etc/apt/sources.list.d").glob("*.sources")):
        for stanza in file.read_text(encoding="utf-8").split("\n\n"):
            fields = dict(
                line.split(": ", 1) for line in stanza.splitlines() if ": " in line and not line.startswith("#")
            )
            signed = f"[signed-by={fields['Signed-By']}] " if "Signed-By" in fields else ""
            lines += [
                f"deb {signed}{fields['URIs']} {suite} {fields['Components']}"
                for suite in fields.get("Suites", "").split()
                if suite in suites
            ]
    return lines
