"""Live calls through a load balancer that takes AWS's words in the worst way: what a fleet lives through cuts none."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from websockets import InvalidStatus

from tests.support.balanced_fleet import TARGETS, BalancedFleet
from tests.support.cloud.target_health import State
from tests.support.live_call import LiveCall, live_call, refusal
from tests.support.ports import free_ports
from tests.support.starting import starting

SPEED = 200.0  # minutes of AWS's in a second or two
GONE: State = "unused"
SECONDS = 20.0  # for what takes a few: two cores are shared with everything else that runs


@pytest.fixture
async def fleet(quick: dict[str, str]) -> AsyncIterator[BalancedFleet]:
    async with BalancedFleet(TARGETS, SPEED, **quick) as balanced:
        yield balanced


async def place(fleet: BalancedFleet, calls: AsyncExitStack, number: int) -> tuple[list[LiveCall], int]:
    """So many calls, each on as many connections as it takes; and how often a node refused one."""
    placed: list[LiveCall] = []
    refused = 0
    async with asyncio.timeout(SECONDS):
        while len(placed) < number:
            try:
                placed.append(await calls.enter_async_context(live_call(fleet.url)))
            except InvalidStatus as status:
                if status.response.status_code != 503 or "Retry-After" not in status.response.headers:
                    raise
                refused += 1
    return placed, refused


async def all_go_on(calls: list[LiveCall]) -> None:
    assert [await call.ask("ping") for call in calls] == ["You said: ping"] * len(calls)


async def test_a_rollout_cuts_no_call_and_who_comes_to_a_full_node_or_one_that_leaves_finds_another(
    fleet: BalancedFleet,
) -> None:
    full, other = await asyncio.gather(fleet.add(VOICE_MAX_SESSIONS="1"), fleet.add())
    async with AsyncExitStack() as stack:
        calls, refused = await place(fleet, stack, 12)
        assert full.node.get("/ready")[0] == 503
        assert refused, "some came to the full node"
        assert fleet.balancer.states() == {full.name: "healthy", other.name: "healthy"}

        newer = await fleet.add()
        await fleet.terminate(full)
        await fleet.terminate(other)
        late, refused = await place(fleet, stack, 12)
        assert refused, "the balancer goes on sending to those that leave"
        assert newer.node.metric("voice_sessions_active") == 12
        await fleet.balancer.until(**dict.fromkeys((full.name, other.name), GONE))
        await all_go_on([*calls, *late])
        assert [full.instance.state, other.instance.state] == ["Terminating:Wait"] * 2

        for call in calls:
            await call.connection.close()
        await asyncio.gather(fleet.end(full), fleet.end(other))
        await all_go_on(late)


async def test_a_restart_of_the_only_node_cuts_no_call_and_who_comes_meanwhile_hears_when_to_try_again(
    fleet: BalancedFleet, quick: dict[str, str]
) -> None:
    port, http_port = free_ports(2)
    command = ("serve", "--port", str(port), "--http-port", str(http_port))
    fleet.balancer.register("only", port=port, http_port=http_port)
    with starting(*command, **quick) as before:
        await fleet.balancer.until(only="healthy")
        async with live_call(fleet.url) as held:
            before.process.send_signal(signal.SIGTERM)
            await fleet.balancer.until(only="unhealthy.draining")
            refused = await refusal(fleet.url)  # where none is healthy, all are asked
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
            await all_go_on([held])
        assert await asyncio.to_thread(before.process.wait, SECONDS) == 0
        with starting(*command, **quick):
            await fleet.balancer.until(only="healthy")
            async with live_call(fleet.url) as call:
                await all_go_on([call])
