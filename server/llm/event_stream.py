"""Bounds the events of a botocore event stream.

botocore collects up to 24 MB of bytes for one event, and shows it when it is whole. This is, beside `interruptible`,
the only place that reaches into botocore's private parts: a test says when they have changed.
"""

from collections.abc import Iterator
from typing import Any

from server.llm.bounds import BoundPassed


def bounded_events(stream: Any, most: int) -> Iterator[Any]:
    """The events of `stream`. Raises `BoundPassed` as soon as one has some 64 kB more than `most` bytes."""
    body = stream._raw_stream = _CountedBody(stream._raw_stream, most)
    for event in stream:
        body.size = 0
        yield event


class _CountedBody:
    """A body as botocore reads it, in blocks of 64 kB. `size` counts bytes."""

    def __init__(self, body: Any, most: int) -> None:
        self._body = body
        self._most = most
        self.size = 0

    def stream(self) -> Iterator[bytes]:
        """Its blocks."""
        for block in self._body.stream():
            if self.size > self._most:
                raise BoundPassed("event", f"Bedrock sent an event of more than {self._most} bytes")
            self.size += len(block)
            yield block

    def close(self) -> None:
        """Nothing more is read."""
        self._body.close()
