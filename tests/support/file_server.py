"""A loopback HTTP server of files that misbehaves on request: it stands in for a model hub, an index and S3."""

import re
import ssl
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class Request:
    """What a client asked for; header names are in lower case."""

    path: str
    headers: dict[str, str]


@dataclass
class FileServer:
    """Serves `files` (path to bytes) with ETags and ranges; each request takes the next of `faults`, if any is left.

    A fault is a status to answer with, `Drop(n)`, a `Hold` or None for none. Those of `range_faults` are for requests
    with that Range header. Of several `mirrors`, which take turns to answer, each has its own ETag for a file.
    """

    files: dict[str, bytes]
    faults: deque["Fault"] = field(default_factory=deque)
    range_faults: dict[str, deque["Fault"]] = field(default_factory=dict)
    ranges: bool = True
    etags: bool = True
    lengths: bool = True
    mirrors: int = 1
    requests: list[Request] = field(default_factory=list)
    gate: "Gate | None" = None
    url: str = ""

    def ranges_asked(self) -> list[str | None]:
        """The Range header of each request so far."""
        return [request.headers.get("range") for request in self.requests]


class Gate(Protocol):
    """What requests wait at."""

    def wait(self, timeout: float) -> object: ...


class Crowd:
    """A gate that opens once `size` requests wait at it, for good; the first `free` ones just pass.

    Who waits for too long finds it shut from then on, or else requests that come one at a time would open it too.
    """

    def __init__(self, size: int, free: int = 0) -> None:
        self._needed = size + free
        self._free = free
        self._came = 0
        self._shut = False
        self._changed = threading.Condition()

    def wait(self, timeout: float) -> None:
        with self._changed:
            self._came += 1
            self._changed.notify_all()
            if self._came > self._free:
                self._shut |= not self._changed.wait_for(lambda: self._came >= self._needed, timeout)
                if self._shut:
                    raise ConnectionAbortedError


@dataclass(frozen=True)
class Drop:
    """Close the connection after so many bytes of the body; None means without any answer."""

    after: int | None


@dataclass
class Hold:
    """Send so many bytes of the body, and the rest only once `until` is set; `in_vain` where nobody did."""

    after: int
    until: threading.Event
    in_vain: bool = False


Fault = int | Drop | Hold | None


@contextmanager
def serving(server: FileServer, context: ssl.SSLContext | None = None) -> Iterator[FileServer]:
    """Run the server on a free loopback port, under TLS with `context`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            _answer(self, server)

        do_HEAD = do_GET  # pip looks at a wheel so before it reads ranges of it

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            if not isinstance(sys.exception(), ConnectionError):  # the client may hang up as it likes
                super().handle_error(request, client_address)

    with Server(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        scheme = "http"
        if context is not None:
            http.socket = context.wrap_socket(http.socket, server_side=True)
            scheme = "https"
        server.url = f"{scheme}://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


def _answer(handler: BaseHTTPRequestHandler, server: FileServer) -> None:
    path = unquote(urlsplit(handler.path).path)
    headers = {name.lower(): value for name, value in handler.headers.items()}
    server.requests.append(Request(path, headers))
    mirror = len(server.requests) % server.mirrors
    if server.gate is not None:
        server.gate.wait(30)
    faults = server.range_faults.get(headers.get("range", "")) or server.faults
    fault = faults.popleft() if faults else None
    if fault == Drop(None):
        handler.close_connection = True
        return None
    body = server.files.get(path)
    if isinstance(fault, int) or body is None:
        return _reply(handler, fault if isinstance(fault, int) else 404, b"", {})
    etag = f'"{sha256(body).hexdigest()}{mirror or ""}"'
    extra = {"ETag": etag} if server.etags else {}
    if headers.get("if-match", etag) != etag:
        return _reply(handler, 412, b"", extra)
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("range", ""))
    if asked and server.ranges and headers.get("if-range", etag) == etag:
        start = int(asked[1])
        if start >= len(body):
            return _reply(handler, 416, b"", extra)
        end = min(int(asked[2] or len(body)), len(body) - 1)
        extra["Content-Range"] = f"bytes {start}-{end}/{len(body)}"
        return _reply(handler, 206, body[start : end + 1], extra, fault)
    if not server.lengths:
        extra["Connection"] = "close"
    return _reply(handler, 200, body, extra, fault)


def _reply(
    handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str], fault: Drop | Hold | None = None
) -> None:
    handler.send_response(status)
    if headers.get("Connection") != "close":  # which alone tells where the body ends
        headers = {**headers, "Content-Length": str(len(body))}
    for name, value in headers.items():
        handler.send_header(name, value)
    if body.startswith(b"<html>"):
        handler.send_header("Content-Type", "text/html")
    handler.end_headers()
    if handler.command == "GET":
        with suppress(ConnectionError):  # the client may have seen enough
            handler.wfile.write(body if fault is None else body[: fault.after])
            if isinstance(fault, Hold):
                fault.in_vain = not fault.until.wait(30)
                handler.wfile.write(body[fault.after :])
    if isinstance(fault, Drop):
        handler.close_connection = True
