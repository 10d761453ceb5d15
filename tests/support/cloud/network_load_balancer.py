"""A Network Load Balancer on loopback: real TCP connections, placed by a flow hash on targets that pass their checks.

What it knows of a target is in `target_health`, in the reading that is worst for callers. Of AWS's it lacks zones, TLS
and client-IP preservation.
"""

import asyncio
import socket
import struct
import time
import zlib
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import aiohttp

from tests.support.cloud.target_health import State, Target, TargetGroup

_CHUNK_BYTES = 65_536
# Closed with this, a socket sends a reset instead of an orderly end.
_NO_LINGER = struct.pack("ii", 1, 0)


@dataclass(eq=False)
class _Flow:
    """One connection, from both sides."""

    client: asyncio.StreamWriter
    target: asyncio.StreamWriter
    used_at: float


@dataclass(eq=False)
class _Member:
    address: tuple[str, int]
    check: str
    health: Target
    flows: set[_Flow] = field(default_factory=set)


class NetworkLoadBalancer:
    """Listens on a free port of loopback while its block lasts; `address` is its host and port."""

    def __init__(self, group: TargetGroup) -> None:
        """`group` holds the attributes of its one target group."""
        self._group = group
        self._members: dict[str, _Member] = {}
        self._serving: set[asyncio.Task[None]] = set()
        self.address = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = "{}:{}".format(*self._server.sockets[0].getsockname())
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._group.check_interval))
        self._start(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for serving in self._serving:
            serving.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._http.close()

    def register(self, name: str, *, port: int, http_port: int) -> None:
        """Add a target of loopback: connections go to `port`, checks ask `/ready` of `http_port`."""
        check = f"http://127.0.0.1:{http_port}/ready"
        member = _Member(("127.0.0.1", port), check, Target(self._group, time.monotonic()))
        self._members[name] = member
        self._start(self._check(member))

    def deregister(self, name: str) -> None:
        """As Auto Scaling does when an instance's end begins."""
        self._members[name].health.deregister(time.monotonic())

    def states(self) -> dict[str, State]:
        """Each target's state, by its name."""
        now = time.monotonic()
        return {name: member.health.state(now) for name, member in self._members.items()}

    def connections(self, name: str) -> int:
        """How many connections a target has."""
        return len(self._members[name].flows)

    def reset(self, name: str) -> None:
        """Cut all connections of a target, as a balancer's own node does when it fails."""
        for flow in list(self._members[name].flows):
            self._cut(flow)

    async def until(self, **states: State) -> None:
        """Wait until these targets are in these states."""
        while not self.states().items() >= states.items():  # noqa: ASYNC110  # what is waited for is time and checks
            await asyncio.sleep(self._group.check_interval / 10)

    async def _check(self, member: _Member) -> None:
        while True:
            try:
                async with self._http.get(member.check) as answer:
                    passed = answer.status == 200
            except (aiohttp.ClientError, TimeoutError):
                passed = False
            member.health.checked(passed, time.monotonic())
            await asyncio.sleep(self._group.check_interval)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._group.check_interval / 10)
            now = time.monotonic()
            for member in self._members.values():
                for flow in list(member.flows):
                    if not member.health.keeps(now) or now > flow.used_at + self._group.idle_timeout:
                        self._cut(flow)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._start(self._serve(reader, writer))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        member = self._place(writer.get_extra_info("peername"))
        try:
            if member is None:
                raise ConnectionRefusedError("the target group is empty")
            answer, target = await asyncio.open_connection(*member.address)
        except OSError:
            self._reset(writer)
            return
        flow = _Flow(writer, target, time.monotonic())
        member.flows.add(flow)
        try:
            async with asyncio.TaskGroup() as pipes:
                pipes.create_task(self._pipe(reader, target, flow))
                pipes.create_task(self._pipe(answer, writer, flow))
        finally:
            member.flows.discard(flow)
            writer.close()
            target.close()

    def _place(self, peer: tuple[str, int]) -> _Member | None:
        """By a hash of the flow; where no target is healthy, on any that is registered ("fail open")."""
        now = time.monotonic()
        members = [member for member in self._members.values() if member.health.offered(now)]
        members = members or [m for m in self._members.values() if m.health.state(now) not in ("draining", "unused")]
        return members[zlib.crc32("{}:{}".format(*peer).encode()) % len(members)] if members else None

    async def _pipe(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, flow: _Flow) -> None:
        """Hand on what comes; an end or a reset of one side becomes one of the other."""
        try:
            while data := await source.read(_CHUNK_BYTES):
                flow.used_at = time.monotonic()
                sink.write(data)
                await sink.drain()
            sink.write_eof()
        except OSError:
            self._cut(flow)

    def _cut(self, flow: _Flow) -> None:
        self._reset(flow.client)
        self._reset(flow.target)

    @staticmethod
    def _reset(writer: asyncio.StreamWriter) -> None:
        connection: socket.socket = writer.get_extra_info("socket")
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        writer.transport.abort()

    def _start(self, serving: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(serving)
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
