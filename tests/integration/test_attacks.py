"""What one caller does, with a valid key, does not reach the others: `python -m tests.bench.attacks` in small."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.bench.attacks.attacker import Attacker
from tests.bench.attacks.attackers import ATTACKS, run
from tests.bench.attacks.hostile_model import ANSWER, hostile_model
from tests.bench.attacks.trial import bound_memory, forget_peak, memory
from tests.support.in_thread import in_thread
from tests.support.live_call import live_call
from tests.support.node import NodeProcess, running_node
from tests.support.openai_llm_standin import OpenAiStandin

_SECONDS = 2.5
_MOST_MEMORY = 100.0  # MiB
_HONEST = ("nothing", "burst")
_HARMFUL = tuple(name for name in ATTACKS if name not in (*_HONEST, "all_places"))


@pytest.fixture(scope="module")
def attacked(quick: dict[str, str]) -> Iterator[NodeProcess]:
    """A node for this module alone, whose language model writes what it is told to."""
    with (
        in_thread(OpenAiStandin(answer=hostile_model())) as model,
        running_node(**quick | {"VOICE_LLM": f"openai:standin@{model.url}"}) as node,
    ):
        bound_memory(node.process.pid)
        yield node


@pytest.mark.parametrize("attack", _HARMFUL)
async def test_a_caller_is_answered_beside_an_attacker_who_costs_the_node_little(
    attacked: NodeProcess, attack: str
) -> None:
    pid, attacker = attacked.process.pid, Attacker(attacked.websocket, key="", scale=0.2)
    async with live_call(attacked.websocket) as call:
        assert await call.ask("hello") == ANSWER
        forget_peak(pid)
        before = memory(pid, "VmRSS")
        attacking = asyncio.create_task(run(attack, attacker, _SECONDS))
        assert await call.ask("and now?") == ANSWER
        await attacking
        assert await call.ask("and then?") == ANSWER
    assert attacked.process.poll() is None
    assert memory(pid, "VmHWM") - before < _MOST_MEMORY
    async with live_call(attacked.websocket) as newcomer:
        assert await newcomer.ask("hello") == ANSWER


async def test_an_honest_client_that_sends_everything_in_one_go_is_served(attacked: NodeProcess) -> None:
    client = Attacker(attacked.websocket, key="")
    await run("burst", client, _SECONDS)
    assert client.told == {"replies": 401}  # session.created, then two for each of 200 items
