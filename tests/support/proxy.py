"""A stand-in for a web proxy: whatever host it is asked for, it connects to the one behind it."""

import asyncio
from contextlib import suppress
from urllib.parse import urlsplit

from tests.support.tcp_server import TcpServer


class Proxy(TcpServer):
    """The proxy. `asked` holds the host and port of each request that came."""

    def __init__(self, host: str, port: int) -> None:
        """`host` and `port` are those of the server that answers for every host."""
        super().__init__()
        self._behind = (host, port)
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        """Its address, as a proxy's is written."""
        return f"http://{self.address}"

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
