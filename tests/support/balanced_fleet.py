"""Real nodes behind a load balancer, each on an instance that comes and goes as in an Auto Scaling group."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import count
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.support.cloud.network_load_balancer import NetworkLoadBalancer
from tests.support.cloud.target_health import State, TargetGroup
from tests.support.fleet import Instance, launched, running_account
from tests.support.node import NodeProcess, running_node

TARGETS = TargetGroup(
    check_interval=10.0,
    healthy_threshold=2,
    unhealthy_threshold=2,
    unhealthy_termination=False,
    unhealthy_draining_interval=360_000.0,
    deregistration_delay=300.0,
    deregistration_termination=False,
)
"""The target group of a fleet."""

_SECONDS = 90.0
_NUMBERS = count(1)


@dataclass(eq=False)
class Member:
    """A node by its name at the balancer, and its instance. `stack` ends it."""

    name: str
    node: NodeProcess
    instance: Instance
    stack: AsyncExitStack


class BalancedFleet:
    """The members come one by one, and all in service are in `members`; callers call `url`."""

    def __init__(self, targets: TargetGroup, speed: float, **settings: str) -> None:
        """`speed` is how many of the balancer's seconds pass in one; `settings` are variables of each node."""
        self.balancer = NetworkLoadBalancer(targets, speed)
        self.members: list[Member] = []
        self._settings = settings
        self._started: list[Member] = []  # those that have left too, which may have to be ended
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._account = self._stack.enter_context(running_account())
        await self._stack.enter_async_context(self.balancer)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(member.stack.aclose() for member in self._started))
        await self._stack.aclose()

    @property
    def url(self) -> str:
        """Where callers call."""
        return f"ws://{self.balancer.address}/v1/realtime"

    async def add(self, **settings: str) -> Member:
        """Start a node, and wait until calls come to it. `settings` are variables of this one."""
        name, stack = f"node-{next(_NUMBERS)}", AsyncExitStack()
        instance = stack.enter_context(launched(self._account))
        starting = running_node(**self._settings, **settings, **instance.variables)
        # The block's end waits for a process, and so leaves the event loop too.
        node = await asyncio.to_thread(starting.__enter__)
        stack.push_async_callback(asyncio.to_thread, starting.__exit__, None, None, None)
        member = Member(name, node, instance, stack)
        self.members.append(member)
        self._started.append(member)
        self.balancer.register(name, port=urlsplit(node.websocket).port or 0, http_port=urlsplit(node.http).port or 0)
        healthy: State = "healthy"
        async with asyncio.timeout(_SECONDS):
            await self.balancer.until(**{name: healthy})
            await node.until(lambda: instance.state == "InService", _SECONDS)
        return member

    async def lose(self, member: Member) -> None:
        """A node dies without a word; the balancer finds that out by itself."""
        self.members.remove(member)
        member.node.process.kill()
        await member.stack.aclose()

    async def terminate(self, member: Member) -> None:
        """Its group begins to end the instance. The node may know before the balancer does: here it drains by then."""
        self.members.remove(member)
        member.instance.terminate()
        await member.node.until(lambda: member.node.events("node_draining"), _SECONDS)
        self.balancer.deregister(member.name)

    async def end(self, member: Member) -> None:
        """Wait until the node has let the instance go; then that is no more."""
        await member.node.until(lambda: member.instance.state == "gone", _SECONDS)
        await member.stack.aclose()
