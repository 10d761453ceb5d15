"""A file on its way: what has arrived of each of its ranges, in a form that outlives the process.

Each range is written at its place in one `.part` file. A file for each would have to be joined at the end, which writes
every byte a second time wherever the disk can't share blocks. Any thread may write, one at a time to a range.
"""

import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from server.models.ranges import ByteRange

_COUNT = struct.Struct("<Q")


class PartialFile:
    """What will be `target`, in `ranges`; to be used as a context, which keeps what has arrived for the next time.

    Beside `.part` there are `.arrived`, which has for each range how many bytes of it are there, counted from its
    start, and `.etag`, the server's name for the version that they are of. A count is written after its bytes, so a
    process that is killed leaves it right or too low. Too high it can only be after a power cut, or where an earlier
    release cut other ranges: then the hash of the whole is wrong, and the store has the file fetched afresh.
    """

    def __init__(self, target: Path, ranges: Sequence[ByteRange]) -> None:
        self._target = target
        self._part, self._record, self._etag = (
            target.with_name(target.name + suffix) for suffix in (".part", ".arrived", ".etag")
        )
        self._ranges = ranges
        self._descriptors: list[int] = []
        self._counts = [0] * len(ranges)
        self.etag = ""

    def __enter__(self) -> Self:
        for path in (self._part, self._record):
            self._descriptors.append(os.open(path, os.O_RDWR | os.O_CREAT, 0o666))
        part, record = self._descriptors
        size = os.fstat(part).st_size
        recorded = os.pread(record, len(self._ranges) * _COUNT.size, 0)
        for one in self._ranges[: len(recorded) // _COUNT.size]:
            (count,) = _COUNT.unpack_from(recorded, one.number * _COUNT.size)
            end = size if one.end is None else min(one.end, size)
            self._counts[one.number] = max(0, min(count, end - one.start))
        if self.arrived and self._etag.exists():
            self.etag = self._etag.read_text(encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())

    @property
    def arrived(self) -> int:
        """Bytes of all ranges together."""
        return sum(self._counts)

    def arrived_of(self, one: ByteRange) -> int:
        """Bytes of one range."""
        return self._counts[one.number]

    def missing(self) -> list[ByteRange]:
        """The ranges that are not there in full."""
        return [one for one in self._ranges if one.end is None or self._counts[one.number] < one.end - one.start]

    def start(self, etag: str) -> None:
        """Take the first byte of a version, and forget what was there of another."""
        self._counts = [0] * len(self._ranges)
        os.ftruncate(self._descriptors[1], 0)
        self._etag.write_text(etag, encoding="utf-8")
        self.etag = etag

    def write(self, one: ByteRange, chunk: bytes) -> None:
        """Append to what has arrived of a range."""
        part, record = self._descriptors
        offset, left = one.start + self._counts[one.number], memoryview(chunk)
        while left:  # the kernel may take less than it was given, as on a disk with little room
            written = os.pwrite(part, left, offset)
            offset, left = offset + written, left[written:]
        count = offset - one.start
        os.pwrite(record, _COUNT.pack(count), one.number * _COUNT.size)
        self._counts[one.number] = count

    def finish(self) -> None:
        """Give the file its name, all having arrived."""
        os.ftruncate(self._descriptors[0], self.arrived)
        os.replace(self._part, self._target)
        self._record.unlink()
        self._etag.unlink(missing_ok=True)
