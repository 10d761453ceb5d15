"""Many calls that come and go for a long time: `python -m tests.bench.soak --minutes 15`.

Eight callers at once talk, interrupt, vanish in the middle of an answer and send nonsense, over and over, on a node
whose speech and language model are stand-ins. Each minute it prints what the gateway holds. Exit status 1: a call
failed, or the gateway holds more and more.
"""

import argparse
import asyncio
import itertools
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from websockets import WebSocketException

from server.bench.node_usage import NodeSample, sample, usage
from tests.bench.attacks.hostile_model import ANSWER
from tests.bench.attacks.trial import memory
from tests.support.clips import BUNDLED, read_wav
from tests.support.in_thread import in_thread
from tests.support.live_call import LiveCall, live_call
from tests.support.node import NodeProcess, quick_speech, running_node
from tests.support.openai_llm_standin import OpenAiStandin
from tests.support.speech import resample

_CALLERS = 8
_SAMPLE_SECONDS = 2.0
_ROW_SECONDS = 60.0
_MOST_GROWTH = 16.0  # MiB, from the second fifth of the time to the last one; the first is for warming up
_MOST_DESCRIPTORS = 2 * _CALLERS  # more than before the first call: connections to the model that are kept for the next
_NONSENSE = ("", "[]", "{", '{"type": "no.such"}', '{"type": "response.create", "response": 5}', "[" * 5000, b"\x00")
_QUESTION = resample(read_wav(BUNDLED / "pls-hold-while-try.wav"), 16_000, 24_000)


async def talk(call: LiveCall) -> None:
    """Speak, hear the whole answer; type, read another."""
    await call.say(_QUESTION)
    await _answered(call)
    assert await call.ask("and in writing?") == ANSWER


async def interrupt(call: LiveCall) -> None:
    """Speak into an answer, and hear another."""
    await call.type("tell me")
    await call.until("response.output_audio.delta")
    await call.say(_QUESTION)
    assert (await call.until("response.done"))["response"]["status"] == "cancelled"
    await _answered(call)


async def cancel(call: LiveCall) -> None:
    """Stop an answer by hand, again and again."""
    for _ in range(5):
        await call.type("tell me")
        await call.until("response.output_audio.delta")
        await call.send("response.cancel")
        assert (await call.until("response.done"))["response"]["status"] == "cancelled"


async def vanish(call: LiveCall) -> None:
    """Be gone in the middle of an answer, without a goodbye."""
    await call.type("tell me")
    await call.until("response.output_audio.delta")
    call.reset()


async def send_nonsense(call: LiveCall) -> None:
    """Send what no client should, be told so each time, and be answered all the same."""
    for message in _NONSENSE:
        await call.connection.send(message)
        await call.error()
    assert await call.ask("still there?") == ANSWER


async def _answered(call: LiveCall) -> None:
    """Wait for an answer that nobody stops; a pause in the question may have begun another before."""
    while (await call.until("response.done"))["response"]["status"] != "completed":
        pass


_CALLS: Sequence[Callable[[LiveCall], Awaitable[None]]] = (talk, interrupt, cancel, vanish, send_nonsense)


@dataclass(slots=True)
class Soak:
    """What happened so far.

    `memory` holds the gateway's MiB at each look, `descriptors` its open files before and after all calls; `failures`
    counts by what went wrong.
    """

    calls: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    memory: list[float] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)

    @property
    def growth(self) -> float:
        """MiB from the second fifth of the time to the last."""
        fifth = max(1, len(self.memory) // 5)
        return fmean(self.memory[-fifth:]) - fmean(self.memory[fifth : 2 * fifth] or self.memory[-1:])

    @property
    def faults(self) -> list[str]:
        """What was not as it should be."""
        found = [f"{count} calls failed: {what}" for what, count in self.failures.items()]
        if self.growth > _MOST_GROWTH:
            found.append(f"memory grew by {self.growth:.0f} MiB")
        if self.descriptors[-1] > self.descriptors[0] + _MOST_DESCRIPTORS:
            found.append(f"open files: {self.descriptors[0]} before the calls, {self.descriptors[-1]} after")
        return found


async def soak(node: NodeProcess, seconds: float) -> Soak:
    """Call for so long; prints a line a minute."""
    result, pid = Soak(), node.process.pid
    result.descriptors.append(_descriptors(pid))
    ends_at = time.monotonic() + seconds
    async with asyncio.TaskGroup() as tasks:
        for first in range(_CALLERS):
            tasks.create_task(_call(node, first, ends_at, result))
        tasks.create_task(_watch(node, ends_at, result))
    await node.until(lambda: node.metric("voice_sessions_active") == 0)
    result.descriptors.append(_descriptors(pid))
    return result


async def _call(node: NodeProcess, first: int, ends_at: float, result: Soak) -> None:
    """One caller, who calls again and again."""
    for number in itertools.count(first):
        if time.monotonic() > ends_at:
            return
        scene = _CALLS[number % len(_CALLS)]
        try:
            async with live_call(node.websocket, patience=30.0) as call:
                await scene(call)
        except (AssertionError, WebSocketException, OSError, TimeoutError) as error:
            result.failures[f"{scene.__name__}: {type(error).__name__}"] += 1
            await asyncio.sleep(1.0)  # a node that refuses is not to be stormed
        result.calls += 1


async def _watch(node: NodeProcess, ends_at: float, result: Soak) -> None:
    pid, started = node.process.pid, time.monotonic()
    row_at, before = started + _ROW_SECONDS, await _sample(node)
    while (now := time.monotonic()) < ends_at:
        result.memory.append(memory(pid, "VmRSS"))
        if now >= row_at:
            row_at, after = row_at + _ROW_SECONDS, await _sample(node)
            _show(result, now - started, _descriptors(pid), usage(before, after, 0.0).loop_lag_p99_ms)
            before = after
        await asyncio.sleep(_SAMPLE_SECONDS)


async def _sample(node: NodeProcess) -> NodeSample:
    return await asyncio.to_thread(sample, f"{node.http}/metrics")


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _show(result: Soak, seconds: float, descriptors: int, lag_ms: float | None) -> None:
    lag = "-" if lag_ms is None else f"{lag_ms:.1f}"
    print(
        f"{seconds / 60:4.0f} min {result.memory[-1]:6.0f} MiB {descriptors:4d} open files, loop lag p99 {lag:>6} ms, "
        f"{result.calls:6d} calls, {result.failures.total()} failed",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0)
    options = parser.parse_args()
    with (
        quick_speech() as speech,
        in_thread(OpenAiStandin(answer=lambda _: ANSWER, first_token_seconds=0.05)) as model,
        running_node(**speech, VOICE_LLM=f"openai:standin@{model.url}", VOICE_LOG_LEVEL="info") as node,
    ):
        result = asyncio.run(soak(node, 60.0 * options.minutes))
    print(f"{result.calls} calls, {result.growth:+.1f} MiB from the second fifth of the time to the last")
    for fault in result.faults:
        print(fault)
    sys.exit(1 if result.faults else 0)


if __name__ == "__main__":
    main()
