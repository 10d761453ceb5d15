"""Files that can be read from a local folder or an HTTP server; `s3` has the third kind of `download.Remote`.

They translate their library's errors into those that `download` acts upon, and decide nothing.
"""

import functools
import os
import re
import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, MaxRetryError, NewConnectionError, ProxyError, SSLError

from server.models.download import CHUNK_BYTES, Broken, NotResumable, Stream, Unreachable
from server.models.errors import SourceFailed

_TIMEOUT = urllib3.Timeout(connect=10.0, read=60.0)
_REDIRECTS_ONLY = urllib3.Retry(total=5, connect=0, read=0, status=0, other=0)
_TRY_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file on a disk of this machine."""

    path: Path

    @contextmanager
    def open(self, offset: int, etag: str) -> Iterator[Stream]:
        """See `Remote.open`."""
        try:
            file = self.path.open("rb")
        except OSError as error:
            raise SourceFailed(f"{self.path}: {error.strerror}") from error
        with file:
            file.seek(offset)
            total = os.fstat(file.fileno()).st_size
            yield Stream(offset, total, "", iter(functools.partial(file.read, CHUNK_BYTES), b""))


@dataclass(frozen=True, slots=True)
class HttpFile:
    """A file behind an http or https address."""

    url: str

    @contextmanager
    def open(self, offset: int, etag: str) -> Iterator[Stream]:
        """See `Remote.open`. A weak ETag can't vouch for bytes (RFC 9110, 13.1.5); the hash does in the end."""
        headers = {"Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if etag:
                headers["If-Range"] = etag
        with (
            _pool(urlsplit(self.url).scheme, urlsplit(self.url).hostname or "") as pool,
            self._get(pool, headers) as response,
        ):
            if response.status == 416 and offset:
                raise NotResumable
            start, total = self._extent(response)
            found = response.headers.get("ETag", "")
            yield Stream(start, total, "" if found.startswith("W/") else found, _chunks(response))

    def _get(self, pool: urllib3.PoolManager, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        try:
            return pool.request(
                "GET", self.url, headers=headers, preload_content=False, timeout=_TIMEOUT, retries=_REDIRECTS_ONLY
            )
        except MaxRetryError as error:
            if isinstance(error.reason, NewConnectionError | ConnectTimeoutError | SSLError | ProxyError):
                raise Unreachable(str(error.reason)) from error
            raise Broken(str(error.reason)) from error
        except HTTPError as error:
            raise SourceFailed(str(error)) from error

    def _extent(self, response: urllib3.BaseHTTPResponse) -> tuple[int, int | None]:
        """Where the body starts in the file, and the file's size."""
        if response.status in _TRY_LATER:
            raise Broken(f"HTTP status {response.status}")
        if response.status == 200:
            length = response.headers.get("Content-Length")
            return 0, int(length) if length else None
        extent = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if response.status != 206 or not extent:
            raise SourceFailed(f"HTTP status {response.status}")
        return int(extent[1]), int(extent[2])


def _chunks(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    try:
        yield from response.stream(CHUNK_BYTES, decode_content=False)
    except HTTPError as error:
        raise Broken(str(error)) from error


def _pool(scheme: str, host: str) -> urllib3.PoolManager:
    """A connection pool that trusts and takes the detours that this machine's environment names."""
    proxy = None if urllib.request.proxy_bypass(host) else urllib.request.getproxies().get(scheme)
    context = _trust()
    return urllib3.ProxyManager(proxy, ssl_context=context) if proxy else urllib3.PoolManager(ssl_context=context)


def _trust() -> ssl.SSLContext:
    """The certificate authorities that pip and others are told to trust; SSL_CERT_FILE is OpenSSL's own variable."""
    bundle = os.environ.get("PIP_CERT") or os.environ.get("REQUESTS_CA_BUNDLE")
    if not bundle:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cafile=bundle)
    except OSError as error:
        raise SourceFailed(f"the certificates in {bundle} can't be read: {error.strerror}") from error
