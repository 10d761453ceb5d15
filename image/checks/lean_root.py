"""Shows what takes the space on a node's root, and fails if something is there that must not be.

    python3 lean_root.py ROOT [--limit-gb 12]

Fails (exit status 1, a line for each finding) on a second CUDA, on the same model file in two places, and on too much
in all. Only the file system that ROOT is on counts: mounts and links are not followed. It changes nothing, and needs
no more than the image's own Python.
"""

import argparse
import hashlib
import os
import re
import stat
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

LIMIT_GB = 12.0
GB = 10**9
_CUDA_LIBRARY = re.compile(r"(libcublas|libcudart|libcudnn)\w*(-\w+)?\.so(\..*)?")
_MODEL_SIZE = 10 * 10**6  # bytes: below it is no model worth a word
_DEPTH = 6  # down to single packages of the application
_SHOWN = 40


@dataclass(frozen=True)
class File:
    """A regular file: its place below the root, its length and what it takes on disk in bytes."""

    place: str
    size: int
    taken: int

    @property
    def folder(self) -> str:
        """Where it lies."""
        return os.path.dirname(self.place)


def files(root: Path) -> Iterator[File]:
    """Every regular file on the root's file system; one of several names (hard links) of the same file."""
    device = root.lstat().st_dev
    seen: set[int] = set()
    folders = [root]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if status.st_dev != device:
                    continue
                if stat.S_ISDIR(status.st_mode):
                    folders.append(Path(entry.path))
                elif stat.S_ISREG(status.st_mode) and status.st_ino not in seen:
                    if status.st_nlink > 1:
                        seen.add(status.st_ino)
                    yield File(os.path.relpath(entry.path, root), status.st_size, status.st_blocks * 512)


def second_cuda(found: Iterable[File], root: Path) -> Iterator[str]:
    """A line for each CUDA library that lies in more than one folder, and for each toolkit."""
    folders = defaultdict(set)
    for file in found:
        if name := _CUDA_LIBRARY.fullmatch(os.path.basename(file.place)):
            folders[name[1]].add(file.folder)
    for library, places in sorted(folders.items()):
        if len(places) > 1:
            yield f"a second CUDA: {library} is in {' and in '.join(sorted(places))}"
    for toolkit in sorted((root / "usr/local").glob("cuda*")):
        yield f"a second CUDA: a toolkit, {toolkit.relative_to(root)}"


def duplicate_models(found: Iterable[File], root: Path) -> Iterator[str]:
    """A line for each set of large files with the same content."""
    by_size = defaultdict(list)
    for file in found:
        if file.size >= _MODEL_SIZE:
            by_size[file.size].append(file.place)
    for size, places in sorted(by_size.items()):
        by_hash = defaultdict(list)
        for place in places if len(places) > 1 else ():
            by_hash[_sha256(root / place)].append(place)
        for same in by_hash.values():
            if len(same) > 1:
                yield f"a duplicate: {' and '.join(sorted(same))} are the same {size / 10**6:.0f} MB"


def report(found: Iterable[File]) -> Iterator[str]:
    """The folders that take most, largest first, down to six levels; a folder counts what is in the ones below it."""
    taken: Counter[str] = Counter()
    for file in found:
        parts = Path(file.folder).parts
        for depth in range(min(len(parts), _DEPTH) + 1):
            taken["/" + "/".join(parts[:depth])] += file.taken
    for folder, size in taken.most_common(_SHOWN):
        yield f"{size / 10**6:10.0f} MB  {folder}"


def main() -> int:
    """Print the report, then the findings; gives the exit status."""
    parser = argparse.ArgumentParser(description="What takes the space on a node's root, and what must not be there.")
    parser.add_argument("root", type=Path)
    parser.add_argument("--limit-gb", type=float, default=LIMIT_GB, help="of 10^9 bytes; default: %(default)g")
    arguments = parser.parse_args()
    found = sorted(files(arguments.root), key=lambda file: file.place)
    print("\n".join(report(found)))
    findings = [*second_cuda(found, arguments.root), *duplicate_models(found, arguments.root)]
    used = sum(file.taken for file in found)
    if used > arguments.limit_gb * GB:
        findings.append(f"too large: {used / GB:.1f} GB are used, {arguments.limit_gb:g} GB may be")
    print(f"{used / GB:.1f} of {arguments.limit_gb:g} GB used: {'not lean' if findings else 'lean'}")
    for finding in findings:
        print(finding, file=sys.stderr)
    return 1 if findings else 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
