"""The end of turn with the real model, and what becomes of requests when there are too many or nobody waits."""

import asyncio
import os
import sys
import threading
from typing import Any

import numpy as np
import pytest

from server.audio.log_mel import SAMPLE_RATE
from server.observability.metrics import REGISTRY
from server.smart_turn_processor import SmartTurnProcessor
from tests.support.clips import BUNDLED, read_clips
from tests.support.speech import model_folder

MOST_WAITING = 4
PAUSE = bytes(2 * SAMPLE_RATE // 5)


class HeldModel:
    """A model that answers once it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.judged = 0
        self.nice: int | None = None

    def run(self, _: None, inputs: dict[str, Any]) -> list[Any]:
        self.let_go.wait()
        self.nice = nice_of_this_thread()
        self.judged += 1
        return [np.full((len(inputs["input_features"]), 1), 0.75, np.float32)]


@pytest.fixture
def smart_turn() -> SmartTurnProcessor:
    return SmartTurnProcessor(model_folder("smart-turn-v3.2") / "smart-turn-v3.2-cpu.onnx")


@pytest.fixture
def held(smart_turn: SmartTurnProcessor) -> HeldModel:
    """The processor's model, in the place of the real one."""
    smart_turn._model = model = HeldModel()
    return model


def nice_of_this_thread() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def turns_of_the_loop() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_sentence_sounds_finished_at_its_end_and_not_in_its_middle(smart_turn: SmartTurnProcessor) -> None:
    said = next(clip.pcm for clip in read_clips(BUNDLED) if clip.name == "vm-forward.wav")
    so_far = said[: 2 * round(3.58 * SAMPLE_RATE)]  # "Press 1 to enter an extension, press 2 to"
    finished, unfinished = await smart_turn.probability(said + PAUSE), await smart_turn.probability(so_far + PAUSE)
    assert finished is not None
    assert unfinished is not None
    assert finished > 0.8
    assert unfinished < 0.2


async def test_what_was_said_more_than_eight_seconds_ago_does_not_count(smart_turn: SmartTurnProcessor) -> None:
    pcm = b"".join(clip.pcm for clip in read_clips(BUNDLED))
    assert len(pcm) > 16 * SAMPLE_RATE
    assert await smart_turn.probability(pcm) == await smart_turn.probability(pcm[-16 * SAMPLE_RATE :])


async def test_a_request_too_many_has_no_answer_at_once_and_the_others_have_theirs(
    smart_turn: SmartTurnProcessor, held: HeldModel
) -> None:
    refused = counted("voice_queue_refused_total", queue="smart_turn")
    waiting = [asyncio.create_task(smart_turn.probability(PAUSE)) for _ in range(MOST_WAITING)]
    await turns_of_the_loop()
    assert counted("voice_queue_depth", queue="smart_turn") == MOST_WAITING
    assert await smart_turn.probability(PAUSE) is None
    assert counted("voice_queue_refused_total", queue="smart_turn") == refused + 1
    held.let_go.set()
    assert await asyncio.gather(*waiting) == [0.75] * MOST_WAITING
    assert counted("voice_queue_depth", queue="smart_turn") == 0
    assert await smart_turn.probability(PAUSE) == 0.75


async def test_behind_a_slow_judgement_no_request_waits(smart_turn: SmartTurnProcessor, held: HeldModel) -> None:
    smart_turn._seconds = 0.3  # as where others want the core
    first = asyncio.create_task(smart_turn.probability(PAUSE))
    await turns_of_the_loop()
    assert await smart_turn.probability(PAUSE) is None
    held.let_go.set()
    assert await first == 0.75


async def test_a_request_that_is_cancelled_before_its_turn_is_not_judged_and_leaves_its_place(
    smart_turn: SmartTurnProcessor, held: HeldModel
) -> None:
    waiting = [asyncio.create_task(smart_turn.probability(PAUSE)) for _ in range(MOST_WAITING)]
    await turns_of_the_loop()
    for request in waiting[1:]:
        request.cancel()
    await turns_of_the_loop()
    later = asyncio.create_task(smart_turn.probability(PAUSE))
    await turns_of_the_loop()
    held.let_go.set()
    assert [await waiting[0], await later] == [0.75, 0.75]
    assert held.judged == 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a priority for each thread")
async def test_the_model_gives_way_to_the_rest_and_what_needs_the_interpreter_does_not(
    smart_turn: SmartTurnProcessor, held: HeldModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared_at: list[int] = []

    def features(_: Any) -> Any:
        prepared_at.append(nice_of_this_thread())
        return np.zeros((80, 800), np.float32)

    monkeypatch.setattr("server.smart_turn_processor.smart_turn_features", features)
    held.let_go.set()
    await smart_turn.probability(PAUSE)
    assert held.nice is not None
    assert held.nice > nice_of_this_thread()
    assert prepared_at == [nice_of_this_thread()]


async def test_the_cpu_time_of_a_judgement_is_counted(smart_turn: SmartTurnProcessor) -> None:
    before = counted("voice_model_cpu_seconds_total", model="smart_turn")
    await smart_turn.probability(PAUSE)
    assert counted("voice_model_cpu_seconds_total", model="smart_turn") > before
