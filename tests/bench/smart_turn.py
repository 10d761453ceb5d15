"""What smart-turn costs, and what it costs the VAD: `python -m tests.bench.smart_turn --calls 30 --seconds 20`.

First one judgement, by how many share a batch. Then how long the VAD takes for a frame while calls ask for judgements:
with none, with both models in one thread (each waits while the other runs), and as the node has them.
"""

import argparse
import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from typing import Any

import numpy as np

from server.audio.smart_turn_features import WINDOW_SAMPLES, smart_turn_features
from server.smart_turn_processor import SmartTurnProcessor
from server.vad_processor import FRAME_SAMPLES, SAMPLE_RATE, VadProcessor, VadStream
from server.workers.engines.utterance import decode
from tests.bench.markdown import table
from tests.support.clips import BUNDLED, read_clips
from tests.support.speech import model_folder

_BATCHES = (1, 4, 8)
_TIMES = 20
_FRAME_SECONDS = FRAME_SAMPLES / SAMPLE_RATE
_PAUSE_EVERY_SECONDS = 4.0
"""How often a call asks whether its turn is over: about once in each sentence that is spoken to it."""

_SPEECH = b"".join(clip.pcm for clip in read_clips(BUNDLED))
_one_thread = threading.Lock()


class _VadInOneThread(VadProcessor):
    def _infer(self, frames: Any, states: Any) -> Any:
        with _one_thread:
            return super()._infer(frames, states)


class _SmartTurnInOneThread(SmartTurnProcessor):
    def _infer(self, features: Any) -> float:
        with _one_thread:
            return super()._infer(features)


def _times_ms(work: Callable[[], object]) -> tuple[str, float]:
    """How long it takes, best and median, and the CPU time of this process."""
    walls, cpus = [], []
    for _ in range(_TIMES):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(1e3 * (time.perf_counter() - wall))
        cpus.append(1e3 * (time.process_time() - cpu))
    return f"{min(walls):.1f}, {np.median(walls):.1f}", float(np.median(cpus))


def _costs(model: Any) -> Iterator[tuple[str, str, str]]:
    samples = decode(_SPEECH[: 2 * WINDOW_SAMPLES])
    features = smart_turn_features(samples)
    wall, cpu = _times_ms(lambda: smart_turn_features(samples))
    yield "features", wall, f"{cpu:.1f}"
    for size in _BATCHES:
        batch = {"input_features": np.stack([features] * size)}
        wall, cpu = _times_ms(lambda batch=batch: model.run(None, batch))  # type: ignore[misc]  # its type is known
        yield f"inference, {size} in a batch", wall, f"{cpu / size:.1f}"


async def _frame_lags(
    vad: VadProcessor, smart_turn: SmartTurnProcessor | None, calls: int, seconds: float
) -> list[float]:
    """Seconds from a frame's arrival to the VAD's opinion of it, for every frame of so many calls."""
    lags: list[float] = []
    frames = [_SPEECH[start : start + 2 * FRAME_SAMPLES] for start in range(0, len(_SPEECH), 2 * FRAME_SAMPLES)][:-1]

    async def speak(stream: VadStream, sent: "deque[float]", start: float) -> None:
        for number, frame in zip(range(round(seconds / _FRAME_SECONDS)), cycle(frames), strict=False):
            await asyncio.sleep(max(0.0, start + number * _FRAME_SECONDS - time.monotonic()))
            sent.append(time.monotonic())
            await stream.feed(frame)

    async def hear(stream: VadStream, sent: "deque[float]") -> None:
        async for _ in stream:
            heard = time.monotonic()
            lags.append(heard - sent.popleft())

    async def ask(smart_turn: SmartTurnProcessor, start: float) -> None:
        while True:
            await asyncio.sleep(max(0.0, start - time.monotonic()))
            start += _PAUSE_EVERY_SECONDS
            await smart_turn.probability(_SPEECH)

    async with asyncio.TaskGroup() as tasks:
        listening = [tasks.create_task(vad.run())]
        warm = vad.stream()
        await warm.feed(frames[0])
        await anext(aiter(warm))
        now, speaking = time.monotonic(), []
        for call in range(calls):
            stream, sent = vad.stream(), deque[float]()
            listening.append(tasks.create_task(hear(stream, sent)))
            speaking.append(tasks.create_task(speak(stream, sent, now + call * _FRAME_SECONDS / calls)))
            if smart_turn:
                listening.append(tasks.create_task(ask(smart_turn, now + call * _PAUSE_EVERY_SECONDS / calls)))
        await asyncio.gather(*speaking)
        for task in listening:
            task.cancel()
    return lags


def _lag_row(name: str, lags: Sequence[float]) -> tuple[str, ...]:
    return name, *(f"{1e3 * value:.1f}" for value in (*np.percentile(lags, (50, 95, 99)), max(lags)))


def run(calls: int, seconds: float) -> None:
    """Measure, and print what was measured."""
    silero = model_folder("silero-vad") / "silero_vad.onnx"
    smart_turn = model_folder("smart-turn-v3.2") / "smart-turn-v3.2-cpu.onnx"
    own_thread = SmartTurnProcessor(smart_turn)
    print(table(("a window of 8 s", "ms: best, median", "CPU ms for each"), _costs(own_thread._model)))
    variants = (
        ("no judgements", VadProcessor(silero), None),
        ("in the VAD's thread", _VadInOneThread(silero), _SmartTurnInOneThread(smart_turn)),
        ("in a thread of its own", VadProcessor(silero), own_thread),
    )
    rows = [_lag_row(name, asyncio.run(_frame_lags(vad, model, calls, seconds))) for name, vad, model in variants]
    print(table((f"ms from frame to VAD, {calls} calls", "p50", "p95", "p99", "max"), rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=20.0)
    given = parser.parse_args()
    run(given.calls, given.seconds)
