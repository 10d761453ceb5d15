"""Files that can be read from a local folder or an HTTP server; `s3` has the third kind of `download.Remote`.

They translate their library's errors into those that `download` acts upon, and decide nothing.
"""

import functools
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, MaxRetryError, NewConnectionError, ProxyError, SSLError

from server.models.download import CHUNK_BYTES, CONNECTIONS, Broken, NotResumable, Stream, Unreachable
from server.models.errors import SourceFailed
from server.outbound import proxy_for, trusted_authorities

_TIMEOUT = urllib3.Timeout(connect=10.0, read=60.0)
_REDIRECTS_ONLY = urllib3.Retry(total=5, connect=0, read=0, status=0, other=0)
_TRY_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file on a disk of this machine."""

    path: Path

    @contextmanager
    def open(self, start: int, end: int | None, etag: str) -> Iterator[Stream]:
        """See `Remote.open`."""
        try:
            file = self.path.open("rb")
        except OSError as error:
            raise SourceFailed(f"{self.path}: {error.strerror}") from error
        with file:
            file.seek(start)
            total = os.fstat(file.fileno()).st_size
            end = total if end is None else min(end, total)
            yield Stream(start, end, total, "", _read(file, end - start))


def _read(file: BufferedReader, left: int) -> Iterator[bytes]:
    while left > 0 and (chunk := file.read(min(left, CHUNK_BYTES))):
        left -= len(chunk)
        yield chunk


@dataclass(frozen=True, slots=True)
class HttpFile:
    """A file behind an http or https address; files that share `connections` share what they have open."""

    url: str
    connections: "HttpConnections"

    @contextmanager
    def open(self, start: int, end: int | None, etag: str) -> Iterator[Stream]:
        """See `Remote.open`. A weak ETag can't vouch for bytes (RFC 9110, 13.1.5); the hash does in the end."""
        headers = {"Accept-Encoding": "identity"}
        if asks_range := bool(start) or end is not None:
            headers["Range"] = http_range(start, end)
            if etag:
                headers["If-Range"] = etag
        with self.connections.get(self.url, headers) as response:
            if response.status == 416 and asks_range:
                raise NotResumable
            offset, stop, total = self._extent(response)
            found = response.headers.get("ETag", "")
            strong = "" if found.startswith("W/") else found
            yield Stream(offset, stop, total, strong, _chunks(response), functools.partial(abort, response))

    def _extent(self, response: urllib3.BaseHTTPResponse) -> tuple[int, int | None, int | None]:
        """Where the body starts in the file and where it ends, and the file's size."""
        if response.status in _TRY_LATER:
            raise Broken(f"HTTP status {response.status}")
        if response.status == 200:
            length = response.headers.get("Content-Length")
            total = int(length) if length else None
            return 0, total, total
        if response.status != 206:
            raise SourceFailed(f"HTTP status {response.status}")
        return extent_of(response.headers.get("Content-Range", ""))


class HttpConnections:
    """Connections to HTTP servers, opened when there is something to ask and kept for the next question."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pools: dict[tuple[str, str], urllib3.PoolManager] = {}

    def get(self, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        """The answer to a GET, its body still to be read. Raises `SourceFailed` or `Broken`."""
        try:
            return self._pool(urlsplit(url).scheme, urlsplit(url).hostname or "").request(
                "GET", url, headers=headers, preload_content=False, timeout=_TIMEOUT, retries=_REDIRECTS_ONLY
            )
        except MaxRetryError as error:
            if isinstance(error.reason, NewConnectionError | ConnectTimeoutError | SSLError | ProxyError):
                raise Unreachable(str(error.reason)) from error
            raise Broken(str(error.reason)) from error
        except HTTPError as error:
            raise SourceFailed(str(error)) from error

    def _pool(self, scheme: str, host: str) -> urllib3.PoolManager:
        with self._lock:
            if (scheme, host) not in self._pools:
                self._pools[scheme, host] = _pool_manager(scheme, host)
            return self._pools[scheme, host]


def http_range(start: int, end: int | None) -> str:
    """The header that asks for the bytes from `start` up to `end`."""
    return f"bytes={start}-{'' if end is None else end - 1}"


def extent_of(content_range: str) -> tuple[int, int, int]:
    """Where such a part starts and where it ends, and the file's size. Raises `SourceFailed`."""
    extent = _CONTENT_RANGE.fullmatch(content_range)
    if not extent:
        raise SourceFailed(f"Content-Range is {content_range!r}")
    return int(extent[1]), int(extent[2]) + 1, int(extent[3])


def abort(response: urllib3.BaseHTTPResponse) -> None:
    """Wake the thread that waits for more of this body; nothing where it has ended meanwhile."""
    with suppress(ValueError, RuntimeError, OSError):
        response.shutdown()


def _chunks(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    try:
        yield from response.stream(CHUNK_BYTES, decode_content=False)
    except HTTPError as error:
        raise Broken(str(error)) from error


def _pool_manager(scheme: str, host: str) -> urllib3.PoolManager:
    """A connection pool that trusts and takes the detours that this machine's environment names."""
    proxy = proxy_for(f"{scheme}://{host}")
    try:
        context = trusted_authorities()
    except OSError as error:
        raise SourceFailed(f"the certificates in {error.filename} can't be read: {error.strerror}") from error
    if proxy:
        return urllib3.ProxyManager(proxy, maxsize=CONNECTIONS, ssl_context=context)
    return urllib3.PoolManager(maxsize=CONNECTIONS, ssl_context=context)
