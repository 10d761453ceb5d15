"""How long a large model file takes, by connections: `python -m tests.bench.model_fetch [--mb 512] [--rate 50]`.

From a server on loopback that gives each connection no more than so many MB/s, as S3 does; and from one that gives what
it can, which shows what the fetching process takes at most. Hashing is timed apart.
"""

import argparse
import os
import platform
import re
import socket
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from server.models.cancellation import Cancellation
from server.models.catalogue import ModelFile
from server.models.content import content
from server.models.download import download
from server.models.remotes import HttpConnections, HttpFile
from tests.bench.markdown import table

_CONNECTIONS = (1, 2, 4, 8, 16)
_BLOCK = 1 << 18  # so much is sent at a time, and then waited for


def serve(path: Path, rate: float, told: Connection) -> None:
    """Serve the file to whoever asks for anything, each connection at `rate` bytes/s, or at any where that is 0."""
    size = path.stat().st_size

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            start, end = (int(asked[1]), int(asked[2] or size - 1) + 1) if asked else (0, size)
            self.send_response(206 if asked else 200)
            self.send_header("Content-Length", str(end - start))
            self.send_header("ETag", '"one"')
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
            self.end_headers()
            began = time.monotonic()
            with path.open("rb") as file:
                for offset in range(start, end, _BLOCK):
                    self.connection.sendfile(file, offset, min(_BLOCK, end - offset))
                    if rate:
                        time.sleep(max(0.0, began + (offset + _BLOCK - start) / rate - time.monotonic()))

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        http.daemon_threads = True
        told.send(http.server_port)
        http.serve_forever()


@contextmanager
def serving(path: Path, rate: float) -> Iterator[str]:
    """The address of such a server, in a process of its own, so that it takes none of the client's time."""
    ours, its = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=serve, args=(path, rate, its), daemon=True)
    process.start()
    its.close()  # or nobody would hear of it where the process ends without a word
    try:
        yield f"http://127.0.0.1:{ours.recv()}/model"
    finally:
        process.kill()
        process.join()


def fetch_seconds(url: str, size: int, target: Path, connections: int) -> float:
    """How long it takes to fetch the file over so many connections."""
    began = time.monotonic()
    with ThreadPoolExecutor(connections) as pool:
        download(HttpFile(url, HttpConnections()), target, lambda done, total: None, pool, Cancellation(), size)
    seconds = time.monotonic() - began
    target.unlink()
    return seconds


def _machine() -> str:
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores"


def run(megabytes: int, rate: int, folder: Path) -> str:
    """The table."""
    path, size = folder / "served", megabytes * 1_000_000
    block = os.urandom(1_000_000)
    with path.open("wb") as file:
        file.writelines(block for _ in range(megabytes))
    columns = []
    for limit in (rate * 1e6, 0.0):
        with serving(path, limit) as url:
            columns.append([fetch_seconds(url, size, folder / "fetched", count) for count in _CONNECTIONS])
    began = time.monotonic()
    content(path, ModelFile(path="served", size=size, sha256="0" * 64))
    hashing = time.monotonic() - began
    rows = [
        (count, f"{limited:.1f}", f"{size / limited / 1e6:.0f}", f"{size / free / 1e6:.0f}")
        for count, limited, free in zip(_CONNECTIONS, *columns, strict=True)
    ]
    heading = ("connections", f"{megabytes} MB, s", "MB/s", "MB/s without a limit")
    return (
        f"{table(heading, rows)}\n{_machine()}, which the server on loopback shares; it gives each connection "
        f"{rate} MB/s. SHA-256: {size / hashing / 1e6:.0f} MB/s."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=512, help="size of the file")
    parser.add_argument("--rate", type=int, default=50, help="MB/s of each connection")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(run(options.mb, options.rate, Path(folder)))


if __name__ == "__main__":
    main()
