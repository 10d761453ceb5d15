"""Whether a turn is over, from how it sounds: smart-turn on onnxruntime, for the pauses of all sessions.

It gives an opinion and ends no turn. When it cannot give one in time it gives none, and turn-taking does without.

It has a thread of its own, since a judgement takes 45 ms of a core: in that of the VAD it would hold up every call's
frames for so long. Judgements are made one after the other, since a batch shares no cost: the 400 steps of one window
fill a matrix product already, so eight in a batch take no less than eight alone, and the first would wait for the last.
`python -m tests.bench.smart_turn` measures both.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort
import structlog
from numpy.typing import NDArray

from server.audio.smart_turn_features import WINDOW_SAMPLES, smart_turn_features
from server.observability import metrics

log = structlog.get_logger(__name__)

_WINDOW_BYTES = 2 * WINDOW_SAMPLES
# 0.2 s of work. An opinion that takes longer comes when much of the silence that it is to shorten is over.
_MOST_WAITING = 4


class SmartTurnProcessor:
    """Runs one smart-turn model for all sessions."""

    def __init__(self, model: Path) -> None:
        """Load `model` and judge once, so that the first caller waits no longer than others: not for the event loop."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._model = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        # Not of a lower priority: a busy machine would stop it while it holds Python's lock, and so the event loop.
        self._thread = ThreadPoolExecutor(1, "smart-turn")
        self._room = asyncio.Semaphore(_MOST_WAITING)
        self._judge(b"")

    async def probability(self, pcm: bytes) -> float | None:
        """How likely the caller has finished, 0 to 1; None if too many wait already or the model fails.

        `pcm` is 16-bit little-endian mono PCM at 16 kHz: the turn so far with the pause at its end. The last 8 s count.
        A request that is cancelled before its turn costs nothing.
        """
        if self._room.locked():
            metrics.queue_refused.labels("smart_turn").inc()
            return None
        loop = asyncio.get_running_loop()
        asked = time.monotonic()
        async with self._room:
            with metrics.queue_depth.labels("smart_turn").track_inprogress():
                try:
                    probability = await loop.run_in_executor(self._thread, self._judge, pcm[-_WINDOW_BYTES:])
                except Exception as error:
                    log.exception("smart_turn_failed", kind=type(error).__name__)
                    metrics.smart_turn_errors.inc()
                    return None
        metrics.smart_turn_seconds.observe(time.monotonic() - asked)
        return probability

    def close(self) -> None:
        """Take no more requests."""
        self._thread.shutdown(wait=False)

    def _judge(self, pcm: bytes) -> float:
        samples = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)
        return self._infer(smart_turn_features(samples))

    def _infer(self, features: NDArray[np.float32]) -> float:
        """The model's opinion of features `[80, 800]`."""
        (probabilities,) = self._model.run(None, {"input_features": features[np.newaxis]})
        return float(probabilities[0, 0])
