"""A remote file into a local one, in several ranges at once, over broken connections and restarts of the program.

What has arrived is kept beside the target (see `partial`) and gone on with. Knows nothing of hashes: the store checks
what was fetched before anyone may use it.
"""

import functools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from server.models.cancellation import Cancellation, run_together
from server.models.errors import SourceFailed
from server.models.partial import PartialFile
from server.models.ranges import WHOLE, ByteRange, ranges_of

CHUNK_BYTES = 1 << 16
CONNECTIONS = 16  # 16 of 50 to 100 MB/s fill the 10 Gbit/s to which the smallest GPU node bursts
_PAUSES = (0.0, 0.5, 1.0, 2.0, 4.0)  # seconds before each further try; the first break is often a hiccup
_PROGRESS_BYTES = 1 << 20  # so much between two breaks earns a fresh set of tries


class Broken(Exception):
    """The connection broke, or the server is overloaded: the same request may succeed later."""


class Unreachable(Broken):
    """No connection came about at all."""


class NotResumable(Exception):
    """The server has no such bytes of that version: start again from the first byte."""


class WrongSize(Exception):
    """The remote file has another size than the one that was asked for."""

    def __init__(self, size: int) -> None:
        self.size = size


def _nothing_to_abort() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Stream:
    """The bytes of a remote file from `offset` up to `end`; `total` is the whole file's size. None when not told.

    `abort`, called from another thread, ends a wait for the next chunk.
    """

    offset: int
    end: int | None
    total: int | None
    etag: str
    chunks: Iterator[bytes]
    abort: Callable[[], None] = _nothing_to_abort


class Remote(Protocol):
    """A file somewhere else. Several threads may read it at once."""

    def open(self, start: int, end: int | None, etag: str) -> AbstractContextManager[Stream]:
        """Read from `start` up to `end` (None: the last byte) if the file still has that ETag (empty: unknown).

        Where it hasn't, or there are no ranges, it may give the whole file. Raises `SourceFailed`, `Broken` or, unless
        asked for the whole, `NotResumable`; reading the chunks raises `Broken`.
        """
        ...


def download(
    remote: Remote,
    target: Path,
    report: Callable[[int, int | None], None],
    connections: Executor,
    cancellation: Cancellation,
    size: int | None = None,
) -> None:
    """Fetch `remote` to `target`, over so many connections as `connections` has threads, if its `size` is told.

    `report` gets the bytes so far and the total after each chunk, by one thread at a time, and may raise. A server that
    was never reached is given up at once, so that the next source has its turn. Raises `SourceFailed`, `WrongSize`,
    `Cancelled`, and OSError for the local disk.
    """
    # First what an earlier run has begun, then afresh; then, for a server without ranges or one behind whose name
    # several disagree about the version, all in one stream, which no other can contradict.
    for ranges in (ranges_of(size), ranges_of(size), WHOLE, WHOLE):
        with PartialFile(target, ranges) as partial:
            transfer = _Transfer(remote, partial, report, size)
            try:
                if missing := partial.missing():
                    first, *others = (functools.partial(transfer.fetch, one) for one in missing)
                    run_together(connections, [first], cancellation)
                    run_together(connections, others, cancellation)
            except NotResumable:
                partial.start("")
                continue
            partial.finish()
            return
    raise SourceFailed("the file changes while it is read")


@dataclass(slots=True)
class _Transfer:
    remote: Remote
    partial: PartialFile
    report: Callable[[int, int | None], None]
    size: int | None
    reporting: threading.Lock = field(default_factory=threading.Lock)

    def fetch(self, one: ByteRange, cancellation: Cancellation) -> None:
        """What lacks of one range, with as many tries as it takes while it gets on."""
        pauses = iter(_PAUSES)
        while True:
            had = self.partial.arrived_of(one)
            try:
                return self._receive(one, cancellation)
            except Broken as error:
                if self.partial.arrived_of(one) - had >= _PROGRESS_BYTES:
                    pauses = iter(_PAUSES)
                pause = next(pauses, None)
                if pause is None or (isinstance(error, Unreachable) and not self.partial.arrived):
                    raise SourceFailed(str(error)) from error
                cancellation.pause(pause)

    def _receive(self, one: ByteRange, cancellation: Cancellation) -> None:
        cancellation.check()
        start = one.start + self.partial.arrived_of(one)
        with self.remote.open(start, one.end, self.partial.etag) as stream, cancellation.calling(stream.abort):
            self._accept(stream, one, start)
            for chunk in stream.chunks:
                cancellation.check()  # a stream that was aborted may give anything
                self.partial.write(one, chunk)
                with self.reporting:
                    self.report(self.partial.arrived, stream.total)
        received, end = one.start + self.partial.arrived_of(one), stream.total if one.end is None else one.end
        if end is not None and received < end:
            raise Broken(f"the connection closed after {received} of {end} bytes")

    def _accept(self, stream: Stream, one: ByteRange, start: int) -> None:
        """See that the stream belongs where it is to be written. Raises `WrongSize` or `NotResumable`."""
        if self.size is not None and stream.total is not None and stream.total != self.size:
            raise WrongSize(stream.total)
        if one.end is not None and (stream.offset != start or stream.end is None or stream.end > one.end):
            raise NotResumable
        if stream.offset == 0 and (one.end is None or not self.partial.arrived):
            self.partial.start(stream.etag)
        elif stream.offset != start or (stream.etag and self.partial.etag not in {"", stream.etag}):
            raise NotResumable
