"""A remote file into a local one, over broken connections and restarts of the program.

What has arrived is kept beside the target as `.part` (with the server's ETag in `.etag`) and gone on with. Knows
nothing of hashes: the store checks what was fetched before anyone may use it.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from server.models.errors import SourceFailed

CHUNK_BYTES = 1 << 16
_PAUSES = (0.0, 0.5, 1.0, 2.0, 4.0)  # seconds before each further try; the first break is often a hiccup
_PROGRESS_BYTES = 1 << 20  # so much between two breaks earns a fresh set of tries


class Broken(Exception):
    """The connection broke, or the server is overloaded: the same request may succeed later."""


class Unreachable(Broken):
    """No connection came about at all."""


class NotResumable(Exception):
    """The server has no bytes at that offset of that version: start again from the first byte."""


@dataclass(frozen=True, slots=True)
class Stream:
    """The bytes of a remote file from `offset` on; `total` is the whole file's size, None when not told."""

    offset: int
    total: int | None
    etag: str
    chunks: Iterator[bytes]


class Remote(Protocol):
    """A file somewhere else."""

    def open(self, offset: int, etag: str) -> AbstractContextManager[Stream]:
        """Read from `offset` if the file still has that ETag (empty: unknown), else from the first byte.

        Raises `SourceFailed`, `Broken` or `NotResumable`; reading the chunks raises `Broken`.
        """
        ...


def download(remote: Remote, target: Path, report: Callable[[int, int | None], None]) -> None:
    """Fetch `remote` to `target`; `report` gets the bytes so far and the total after each chunk, and may raise.

    A server that was never reached is given up at once, so that the next source has its turn. Raises `SourceFailed`,
    and OSError for the local disk.
    """
    part, etag_file = (target.with_name(target.name + suffix) for suffix in (".part", ".etag"))
    pauses = iter(_PAUSES)
    while True:
        had = part.stat().st_size if part.exists() else 0
        try:
            _receive(remote, part, etag_file, report)
            break
        except NotResumable:
            part.unlink()
        except Broken as error:
            if part.stat().st_size - had >= _PROGRESS_BYTES:
                pauses = iter(_PAUSES)
            pause = next(pauses, None)
            if pause is None or (isinstance(error, Unreachable) and not had):
                raise SourceFailed(str(error)) from error
            time.sleep(pause)
    os.replace(part, target)
    etag_file.unlink()


def _receive(remote: Remote, part: Path, etag_file: Path, report: Callable[[int, int | None], None]) -> None:
    with part.open("ab") as out:
        known_etag = etag_file.read_text(encoding="utf-8") if etag_file.exists() else ""
        with remote.open(out.tell(), known_etag) as stream:
            out.truncate(stream.offset)
            etag_file.write_text(stream.etag, encoding="utf-8")
            received = stream.offset
            for chunk in stream.chunks:
                out.write(chunk)
                received += len(chunk)
                report(received, stream.total)
    if stream.total is not None and received < stream.total:
        raise Broken(f"the connection closed after {received} of {stream.total} bytes")
