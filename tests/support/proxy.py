"""A stand-in for a web proxy: whatever host it is asked for, it connects to the one behind it."""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class Proxy:
    """The proxy. `asked` holds the host and port of each request that came."""

    def __init__(self, host: str, port: int) -> None:
        """`host` and `port` are those of the server that answers for every host."""
        self._behind = (host, port)
        self.asked: list[str] = []
        self.url = ""
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for serving in self._serving:
            serving.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, version = head.split(b"\r\n", 1)[0].split(b" ")
        remote, out = await asyncio.open_connection(*self._behind)
        if method == b"CONNECT":
            self.asked.append(target.decode())
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            address = urlsplit(target.decode())
            self.asked.append(address.netloc)
            line = b" ".join((method, address.path.encode(), version))
            out.write(line + head[head.index(b"\r\n") :])
        async with asyncio.TaskGroup() as pipes:
            pipes.create_task(_pipe(reader, out))
            pipes.create_task(_pipe(remote, writer))


async def _pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.close()
