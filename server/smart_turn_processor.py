"""Whether a turn is over, from how it sounds: smart-turn on onnxruntime, for the pauses of all sessions.

It gives an opinion and ends no turn. When it cannot give one in time it gives none, and turn-taking does without.

The model has a thread of its own, since a judgement takes 45 ms of a core: in that of the VAD it would hold up every
call's frames for so long. That thread has a lower priority, so that audio comes first where cores are short. Judgements
are made one after the other, since a batch shares no cost: the 400 steps of one window fill a matrix product already,
so eight in a batch take no less than eight alone, and the first would wait for the last.
`python -m tests.bench.smart_turn` measures both.
"""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnxruntime as ort
import structlog
from numpy.typing import NDArray

from server.audio.smart_turn_features import WINDOW_SAMPLES, smart_turn_features
from server.observability import metrics

log = structlog.get_logger(__name__)

_cpu_seconds = metrics.model_cpu_seconds.labels("smart_turn")
_WINDOW_BYTES = 2 * WINDOW_SAMPLES
# An opinion that takes longer comes when much of the silence that it is to shorten is over.
_MOST_SECONDS = 0.2
_MOST_WAITING = 4  # as many as that, with a core of their own
_NICE = 10  # a tenth of a core's time, if others want all of it
_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


class SmartTurnProcessor:
    """Runs one smart-turn model for all sessions."""

    def __init__(self, model: Path) -> None:
        """Load `model` and judge once, so that the first caller waits no longer than others: not for the event loop."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._model = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._preparing = ThreadPoolExecutor(1, "smart-turn-features")
        # A busy machine stops a thread of low priority, and with it the event loop if the thread holds Python's lock.
        # The model holds it for microseconds only; the features, which need it throughout, have another thread.
        self._judging = ThreadPoolExecutor(1, "smart-turn", _give_way)
        self._waiting = 0
        self._seconds = 0.0  # that the last judgement took
        self._infer(_features(b""))

    async def probability(self, pcm: bytes) -> float | None:
        """How likely the caller has finished, 0 to 1; None if it would come too late or the model fails.

        `pcm` is 16-bit little-endian mono PCM at 16 kHz: the turn so far with the pause at its end. The last 8 s count.
        A request that is cancelled before its turn costs nothing.
        """
        if self._waiting == _MOST_WAITING or self._waiting * self._seconds > _MOST_SECONDS:
            metrics.queue_refused.labels("smart_turn").inc()
            return None
        loop = asyncio.get_running_loop()
        asked = time.monotonic()
        self._waiting += 1
        try:
            with metrics.queue_depth.labels("smart_turn").track_inprogress():
                features = await loop.run_in_executor(self._preparing, _counted, _features, pcm[-_WINDOW_BYTES:])
                probability = await loop.run_in_executor(self._judging, _counted, self._judge, features)
        except Exception as error:
            log.exception("smart_turn_failed", kind=type(error).__name__)
            metrics.smart_turn_errors.inc()
            return None
        finally:
            self._waiting -= 1
        metrics.smart_turn_seconds.observe(time.monotonic() - asked)
        return probability

    def close(self) -> None:
        """Take no more requests."""
        self._preparing.shutdown(wait=False)
        self._judging.shutdown(wait=False)

    def _judge(self, features: NDArray[np.float32]) -> float:
        started = time.monotonic()
        probability = self._infer(features)
        self._seconds = time.monotonic() - started
        return probability

    def _infer(self, features: NDArray[np.float32]) -> float:
        """The model's opinion of features `[80, 800]`."""
        (probabilities,) = self._model.run(None, {"input_features": features[np.newaxis]})
        return float(probabilities[0, 0])


def _features(pcm: bytes) -> NDArray[np.float32]:
    return smart_turn_features(np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768))


def _counted(work: Callable[[_Given], _Made], given: _Given) -> _Made:
    """What it makes of it; the CPU time of this thread is counted."""
    started = time.thread_time()
    made = work(given)
    _cpu_seconds.inc(time.thread_time() - started)
    return made


def _give_way() -> None:
    """Lower the priority of this thread; elsewhere than on Linux it would be that of the whole process."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + _NICE)
