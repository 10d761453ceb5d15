"""The fleet of the chaos run: nodes with real speech behind a balancer, and two language models that can be broken."""

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.bench.chaos.story import Story
from tests.support.cloud.network_load_balancer import NetworkLoadBalancer
from tests.support.cloud.target_health import State, TargetGroup
from tests.support.node import NodeProcess, running_node
from tests.support.openai_llm_standin import OpenAiStandin

SECRET = "a-secret-of-the-chaos-run-of-more-than-thirty-two-bytes"
# AWS's times, made so short that a round takes minutes: a check each second, two in a row.
_GROUP = TargetGroup(
    check_interval=1.0,
    healthy_threshold=2,
    unhealthy_threshold=2,
    unhealthy_termination=False,
    unhealthy_draining_interval=600.0,
    registration=0.0,
    late_connections=1.0,
)
_READY_SECONDS = 90.0


@dataclass(eq=False)
class Member:
    """A node of the fleet, by its name at the balancer. `stack` ends it."""

    name: str
    node: NodeProcess
    stack: AsyncExitStack

    def strike(self, worker: str) -> None:
        """Kill a speech worker's present process."""
        os.kill([event["pid"] for event in self.node.events("worker_started") if event["worker"] == worker][-1], 9)


class Fleet:
    """`nodes` serve behind `url`; `first` and `second` are their language models, which tell `story`."""

    def __init__(self, nodes: int, places: int) -> None:
        """Each node has so many `places` for calls."""
        self._wanted = nodes
        self._places = places
        self._started = 0
        self._stack = AsyncExitStack()
        self.nodes: list[Member] = []
        self.story = Story()

    async def __aenter__(self) -> Self:
        enter = self._stack.enter_async_context
        self.first, self.second = [
            await enter(OpenAiStandin(answer=self.story.answer, first_token_seconds=0.2, token_seconds=0.01))
            for _ in range(2)
        ]
        self.balancer = await enter(NetworkLoadBalancer(_GROUP))
        await asyncio.gather(*(self.add() for _ in range(self._wanted)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(member.stack.aclose() for member in self.nodes))
        await self._stack.aclose()

    @property
    def url(self) -> str:
        """Where callers call."""
        return f"ws://{self.balancer.address}/v1/realtime"

    async def add(self) -> None:
        """Start a node, and wait until calls come to it."""
        self._started += 1
        name, stack = f"node-{self._started}", AsyncExitStack()
        starting = running_node(
            VOICE_LLM=f"openai:first@{self.first.url},openai:second@{self.second.url}",
            VOICE_TOKEN_SECRET=SECRET,
            VOICE_MAX_SESSIONS=str(self._places),
            VOICE_RETRY_AFTER_SECONDS="1",
        )
        # The block's end waits for a process, and so leaves the event loop too.
        node = await asyncio.to_thread(starting.__enter__)
        stack.push_async_callback(asyncio.to_thread, starting.__exit__, None, None, None)
        self.nodes.append(Member(name, node, stack))
        ports = {"port": urlsplit(node.websocket).port or 0, "http_port": urlsplit(node.http).port or 0}
        self.balancer.register(name, **ports)
        healthy: State = "healthy"
        async with asyncio.timeout(_READY_SECONDS):
            await self.balancer.until(**{name: healthy})

    def busiest(self) -> Member:
        """The node with the most calls."""
        return max(self.nodes, key=lambda member: self.balancer.connections(member.name))

    async def lose(self, member: Member) -> None:
        """A node dies without a word; the balancer finds that out by itself."""
        self.nodes.remove(member)
        member.node.process.kill()
        await member.stack.aclose()

    async def drain(self, member: Member) -> None:
        """A node goes out of service as in a scale-in, until it has ended."""
        self.nodes.remove(member)
        self.balancer.deregister(member.name)
        member.node.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(member.node.process.wait)
        await member.stack.aclose()
