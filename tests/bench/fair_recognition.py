"""What a caller waits for their words beside a greedy one: `python -m tests.bench.fair_recognition [--seconds 20]`.

A real STT worker, reached as the gateway reaches it. The modest call says one of the bundled clips every two seconds;
the greedy one sends what the audio allowance lets through. Each is measured twice: with all requests in one queue, as
those of a gateway that names no calls, and with a session for each call.
"""

import argparse
import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from server.stt_processor import SttError, SttProcessor
from tests.bench.markdown import table
from tests.support.clips import BUNDLED, read_clips
from tests.support.speech import running, worker_commands

_EVERY_SECONDS = 2.0
_RATE = 16_000

Transcribe = Callable[[bytes], Awaitable[object]]


@dataclass(slots=True)
class Waits:
    """How long each answer took, in seconds, and the failures by their word."""

    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    async def ask(self, transcribe: Transcribe, pcm: bytes) -> None:
        began = time.monotonic()
        try:
            await transcribe(pcm)
        except SttError as error:
            self.failures.append(error.failure)
        else:
            self.seconds.append(time.monotonic() - began)


def noise(seconds: float) -> bytes:
    """What is no speech, and has to be listened to: 16-bit mono PCM at 16 kHz."""
    return np.random.default_rng(0).normal(0, 3000, round(seconds * _RATE)).astype("<i2").tobytes()


async def paced(waits: Waits, transcribe: Transcribe, pcm: Sequence[bytes], every: float, seconds: float) -> None:
    """Ask every so many seconds, for so many seconds, whether there were answers or not; what is left is given up."""
    began = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        asked = []
        for number, what in enumerate(itertools.cycle(pcm)):
            await asyncio.sleep(began + number * every - time.monotonic())
            if time.monotonic() - began > seconds:
                break
            asked.append(tasks.create_task(waits.ask(transcribe, what)))
        await asyncio.wait(asked, timeout=15)
        for task in asked:
            task.cancel()


async def measure(stt: SttProcessor, greedy: tuple[bytes, float] | None, sessions: bool, seconds: float) -> Waits:
    """The modest call's waits beside a call that sends `greedy` every so many seconds."""
    modest, other = (stt.session().transcribe if sessions else stt.transcribe for _ in range(2))
    waits = Waits()
    async with asyncio.TaskGroup() as tasks:
        if greedy:
            attack = tasks.create_task(paced(Waits(), other, [greedy[0]], greedy[1], seconds + 30))
            await asyncio.sleep(2.0)
        await paced(waits, modest, [clip.pcm for clip in read_clips(BUNDLED)], _EVERY_SECONDS, seconds)
        if greedy:
            attack.cancel()
    return waits


async def run(seconds: float) -> str:
    rows = []
    commands = worker_commands("stt")
    async with running(commands), SttProcessor(commands[0].address, "en") as stt:
        for name, greedy in (
            ("nobody", None),
            ("35 commits of 100 ms a second", (noise(0.1), 1 / 35)),
            ("2.4 items of 30 s a second", (noise(30.0), 1 / 2.4)),
        ):
            for sessions in (False, True):
                waits = await measure(stt, greedy, sessions, seconds)
                times = sorted(waits.seconds)
                rows.append(
                    (
                        name,
                        "a session each" if sessions else "one queue",
                        len(times),
                        len(waits.failures),
                        f"{1e3 * times[len(times) // 2]:.0f}" if times else "-",
                        f"{1e3 * times[-1]:.0f}" if times else "-",
                    )
                )
    return table(("beside", "requests in", "answered", "failed", "p50 ms", "max ms"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each case is measured")
    print(asyncio.run(run(parser.parse_args().seconds)))


if __name__ == "__main__":
    main()
