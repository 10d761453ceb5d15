"""What is done to the fleet, each with what repairs it; calls go on all the while."""

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

from websockets import InvalidStatus

from server.access.auth import mint_token
from tests.bench.chaos.fleet import SECRET, Fleet
from tests.support.live_call import live_call
from tests.support.openai_llm_standin import Answer, CutOff, OpenAiStandin, Refusal, Stall

_BROKEN_SECONDS = 6.0


async def gateway_killed(fleet: Fleet) -> None:
    """SIGKILL of the busiest node's gateway; another node takes its place."""
    await fleet.lose(fleet.busiest())
    await fleet.add()


async def scale_in(fleet: Fleet) -> None:
    """The group ends the busiest node, which has its callers move; another node takes its place later."""
    await fleet.drain(fleet.busiest())
    await fleet.add()


async def recogniser_killed(fleet: Fleet) -> None:
    """SIGKILL of the busiest node's recogniser."""
    _kill_worker(fleet, "stt")
    await asyncio.sleep(_BROKEN_SECONDS)


async def voice_killed(fleet: Fleet) -> None:
    """SIGKILL of the busiest node's voice."""
    _kill_worker(fleet, "tts")
    await asyncio.sleep(_BROKEN_SECONDS)


async def model_hangs(fleet: Fleet) -> None:
    """The first language model takes requests and says nothing."""
    await _answering(fleet, lambda _: Stall(), fleet.first)


async def model_throttles(fleet: Fleet) -> None:
    """The first language model answers 429."""
    await _answering(fleet, lambda _: Refusal(429), fleet.first)


async def model_breaks_off(fleet: Fleet) -> None:
    """The first language model breaks the connection in the middle of its answer, often inside a word."""

    def half(request: dict[str, Any]) -> Answer:
        text = fleet.story.answer(request)
        return CutOff(text[: len(text) // 2])

    await _answering(fleet, half, fleet.first)


async def all_models_down(fleet: Fleet) -> None:
    """Both language models answer 500."""
    await _answering(fleet, lambda _: Refusal(500), fleet.first, fleet.second)


async def connections_reset(fleet: Fleet) -> None:
    """The balancer resets all connections of the busiest node."""
    fleet.balancer.reset(fleet.busiest().name)
    await asyncio.sleep(_BROKEN_SECONDS)


async def node_full(fleet: Fleet) -> None:
    """One node's places are all taken, and the calls of the busiest other lose their connections."""
    other = fleet.busiest()
    full = next(member for member in fleet.members if member is not other)
    async with AsyncExitStack() as calls:
        with suppress(InvalidStatus):
            for number in itertools.count(1):
                token = mint_token(SECRET, f"filler {number}", 600.0, time.time())
                headers = {"Authorization": f"Bearer {token}"}
                await calls.enter_async_context(live_call(full.node.websocket, additional_headers=headers))
        fleet.balancer.reset(other.name)
        await asyncio.sleep(_BROKEN_SECONDS)


async def rollout(fleet: Fleet) -> None:
    """Every node is replaced, one by one: the new one comes before the old one goes."""
    for member in list(fleet.members):
        await fleet.add()
        await fleet.drain(member)


def _kill_worker(fleet: Fleet, worker: str) -> None:
    """Of the busiest node, its present process."""
    started = fleet.busiest().node.events("worker_started")
    os.kill([event["pid"] for event in started if event["worker"] == worker][-1], signal.SIGKILL)


async def _answering(fleet: Fleet, answer: Callable[[dict[str, Any]], Answer], *models: OpenAiStandin) -> None:
    for model in models:
        model.answer = answer
    await asyncio.sleep(_BROKEN_SECONDS)
    for model in models:
        model.answer = fleet.story.answer


FAULTS: dict[str, Callable[[Fleet], Awaitable[None]]] = {
    fault.__name__: fault
    for fault in (
        gateway_killed,
        scale_in,
        recogniser_killed,
        voice_killed,
        model_hangs,
        model_throttles,
        model_breaks_off,
        all_models_down,
        connections_reset,
        node_full,
        rollout,
    )
}
