"""A Network Load Balancer on loopback: real TCP connections, placed by a flow hash on targets that pass their checks.

It is the balancer of every test with more than one node. What it knows of a target is in `target_health`, in the
reading that is worst for callers. Its clock may run faster than the machine's, so that no test has to wait for AWS's
minutes. Of AWS's it lacks zones, TLS, client-IP preservation and passive checks.
"""

import asyncio
import socket
import struct
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import aiohttp

from tests.support.cloud.target_health import State, Target, TargetGroup
from tests.support.tcp_server import TcpServer

_CHUNK_BYTES = 65_536
_CHECK_PATH = "/in-service"
_CHECK_SECONDS = 5.0
"""How long an answer to a check may take."""
_LEAST_CHECK_SECONDS = 2.0
"""The same by the machine's own clock: a node is no faster where the balancer's is."""
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


class NetworkLoadBalancer(TcpServer):
    """Serves its targets while its block lasts."""

    def __init__(self, group: TargetGroup, speed: float = 1.0) -> None:
        """`group` holds the attributes of its one target group; `speed` is how many of its seconds pass in one.

        Only its idle timeout is in the machine's own seconds, as callers and nodes send no more pings than elsewhere.
        """
        super().__init__()
        self._group = group
        self._speed = speed
        self._members: dict[str, _Member] = {}

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        patience = max(_CHECK_SECONDS / self._speed, _LEAST_CHECK_SECONDS)
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=patience))
        self._start(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await super().__aexit__(kind, error, trace)
        await self._http.close()

    def register(self, name: str, *, port: int, http_port: int) -> None:
        """Add a target of loopback: connections go to `port`, checks to `http_port`."""
        check = f"http://127.0.0.1:{http_port}{_CHECK_PATH}"
        member = _Member(("127.0.0.1", port), check, Target(self._group, self._now()))
        self._members[name] = member
        self._start(self._check(member))

    def deregister(self, name: str) -> None:
        """As Auto Scaling does when an instance's end begins."""
        self._members[name].health.deregister(self._now())

    def states(self) -> dict[str, State]:
        """Each target's state, by its name."""
        now = self._now()
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
        while not self.states().items() >= states.items():  # by time and checks
            await self._sleep(self._group.check_interval / 10)

    def _now(self) -> float:
        return time.monotonic() * self._speed

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._speed)

    async def _check(self, member: _Member) -> None:
        while True:
            try:
                async with self._http.get(member.check) as answer:
                    passed = answer.status == 200
            except (aiohttp.ClientError, TimeoutError):
                passed = False
            member.health.checked(passed, self._now())
            await self._sleep(self._group.check_interval)

    async def _watch(self) -> None:
        while True:
            await self._sleep(self._group.check_interval / 10)
            for name, member in self._members.items():
                if not member.health.keeps(self._now()):
                    self.reset(name)

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
        """By a hash of the flow. "If all targets fail health checks at the same time in all enabled Availability Zones,
        the load balancer fails open": on any that is registered."""
        now = self._now()
        members = [member for member in self._members.values() if member.health.offered(now)]
        members = members or [m for m in self._members.values() if m.health.state(now) not in ("draining", "unused")]
        return members[zlib.crc32("{}:{}".format(*peer).encode()) % len(members)] if members else None

    async def _pipe(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, flow: _Flow) -> None:
        """Hand on what comes; an end or a reset of one side becomes one of the other."""
        try:
            while data := await source.read(_CHUNK_BYTES):
                # "If a client or target sends data after the idle timeout period elapses, it receives a TCP RST packet
                # to indicate that the connection is no longer valid." Until then neither side is told.
                if time.monotonic() > flow.used_at + self._group.idle_timeout:
                    raise ConnectionResetError("the flow has been forgotten")
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
