"""Calls that come, end and come again, and what the gateway holds when none is left."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from websockets import WebSocketException

from tests.bench.attacks.trial import memory
from tests.bench.soak.scenes import RULES, SCENES, SHORT, Scene
from tests.support.in_thread import in_thread
from tests.support.node import NodeProcess, quick_speech, running_node
from tests.support.openai_llm_standin import OpenAiStandin, by_rules

_CALLERS = 8
_MOST_GROWTH = 16.0  # MiB
_MOST_FILES = 2 * _CALLERS  # connections to the model that are kept for the next request
_MOST_THREADS = 8  # pools that grow until they are as large as they may be
_MOST_TASKS = 8  # a scrape and a check that happen to be under way


@dataclass(frozen=True, slots=True)
class Held:
    """What a gateway without calls holds: MiB of memory, open files, threads, tasks of its event loop."""

    memory: float
    files: int
    threads: int
    tasks: int


@dataclass(slots=True)
class Soak:
    """How many calls there were, by scene; what went wrong, by scene and error; what the gateway held at each look."""

    scenes: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    held: list[Held] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        """What was not as it should be. The first look is the one that others are held against."""
        found = [f"{count} times {what}" for what, count in self.failures.items()]
        first, last = self.held[0], self.held[-1]
        if last.memory - first.memory > _MOST_GROWTH:
            found.append(f"memory: {first.memory:.0f} MiB, then {last.memory:.0f}")
        for what, most in (("files", _MOST_FILES), ("threads", _MOST_THREADS), ("tasks", _MOST_TASKS)):
            before, after = getattr(first, what), getattr(last, what)
            if after - before > most:
                found.append(f"{what}: {before}, then {after}")
        return found


@contextmanager
def soaked_node() -> Iterator[NodeProcess]:
    """A node for a soak; its speech and its language model are stand-ins."""
    with (
        quick_speech() as speech,
        in_thread(OpenAiStandin(answer=by_rules(RULES, lambda _: SHORT), first_token_seconds=0.05)) as model,
        running_node(**speech, VOICE_LLM=f"openai:standin@{model.url}", VOICE_MAX_SESSIONS="64") as node,
    ):
        yield node


async def play(node: NodeProcess, times: int, soak: Soak) -> None:
    """Each scene so often, eight at once; then, when no call is left, a look at what the gateway holds."""
    left = iter([scene for _ in range(times) for scene in SCENES])

    async def caller() -> None:
        for scene in left:
            await _play(scene, node.websocket, soak)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(_CALLERS):
            tasks.create_task(caller())
    await node.until(lambda: node.metric("voice_sessions_active") == 0)
    soak.held.append(held(node))


async def _play(scene: Scene, url: str, soak: Soak) -> None:
    soak.scenes[scene.__name__] += 1
    try:
        await scene(url)
    except (AssertionError, WebSocketException, OSError, TimeoutError) as error:
        soak.failures[f"{scene.__name__}: {type(error).__name__}"] += 1
        await asyncio.sleep(1.0)  # a node that refuses is not to be stormed


def held(node: NodeProcess) -> Held:
    """What `node` holds now."""
    process = Path(f"/proc/{node.process.pid}")
    return Held(
        memory(node.process.pid, "VmRSS"),
        len(list((process / "fd").iterdir())),
        len(list((process / "task").iterdir())),
        int(node.metric("voice_event_loop_tasks")),
    )
