"""How a file is cut into the byte ranges that are fetched side by side. Pure: opens no file and no connection."""

from dataclasses import dataclass

RANGE_BYTES = 16 << 20
"""AWS advises concurrent requests for 8 to 16 MB: one connection to S3 gives 50 to 100 MB/s, whatever the network."""

FIRST_BYTES = 1 << 20
"""The first range is short, since it goes alone: its answer tells the others which version of the file to ask for."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes from `start` up to `end` (None: wherever the file ends), the `number`th of its file."""

    number: int
    start: int
    end: int | None


WHOLE = (ByteRange(0, 0, None),)
"""One range for all there is: of a short file, of one whose size nobody knows, and where the server knows no ranges."""


def ranges_of(size: int | None) -> tuple[ByteRange, ...]:
    """The ranges, in order, of a file of so many bytes."""
    if size is None or size <= RANGE_BYTES:
        return WHOLE
    starts = [0, *range(FIRST_BYTES, size, RANGE_BYTES)]
    ends = [*starts[1:], size]
    return tuple(ByteRange(number, *extent) for number, extent in enumerate(zip(starts, ends, strict=True)))
