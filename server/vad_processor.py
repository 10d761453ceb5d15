"""Voice activity detection: Silero on onnxruntime, the frames of all sessions batched, off the event loop.

One inference runs at a time, in a thread; the frames that arrive meanwhile make up the next batch, one frame of each
session, in turn. So a session's burst waits behind its own frames and nobody else's.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
import structlog

from server.observability import metrics

log = structlog.get_logger(__name__)

SAMPLE_RATE = 16_000
FRAME_SAMPLES = 512
_CONTEXT_SAMPLES = 64  # the end of the frame before, which the model sees again
_FRAME_BYTES = 2 * FRAME_SAMPLES
_CONTEXT_BYTES = 2 * _CONTEXT_SAMPLES
_MAX_BATCH = 32  # beyond it the cost per frame falls no further (0.04 ms), and a batch only grows longer
# Batches begin this far apart while every session keeps up: the fewer they are, the less each frame costs. A frame by
# itself never waits, a session's burst only for its turn.
_BATCH_SECONDS = 0.0025
_MAX_PENDING_FRAMES = 64  # two seconds of one session's audio; its sender waits after that

_cpu_seconds = metrics.model_cpu_seconds.labels("vad")
_Floats = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


@dataclass(frozen=True, slots=True)
class VoiceActivity:
    """How likely the caller speaks between `start` and `end` (seconds of their own audio): `probability`, 0 to 1."""

    start: float
    end: float
    probability: float


class VadStream:
    """One session's audio on its way through the model. Iterate over it for its activity, frame by frame."""

    def __init__(self, processor: "VadProcessor") -> None:
        self._processor = processor
        self._rest = b""
        self._frames: deque[bytes] = deque()
        self._room = asyncio.Semaphore(_MAX_PENDING_FRAMES)
        self._activity: asyncio.Queue[VoiceActivity] = asyncio.Queue()  # bounded by `_room`
        self._samples_done = 0
        self._lined_up = False
        self.reset_model()

    async def feed(self, pcm: bytes) -> None:
        """Take 16-bit little-endian mono PCM at 16 kHz; waits while two seconds of it are unheard."""
        data = self._rest + pcm
        whole = len(data) - len(data) % _FRAME_BYTES
        self._rest = data[whole:]
        for offset in range(0, whole, _FRAME_BYTES):
            await self._room.acquire()
            self._frames.append(data[offset : offset + _FRAME_BYTES])
            self._processor.enqueue(self)

    def skip(self, pcm: bytes) -> None:
        """Pass over audio that need not be judged, so that times stay those of the caller's audio."""
        self._samples_done += (len(self._rest) + len(pcm)) // 2
        self._rest = b""
        self.reset_model()

    async def __aiter__(self) -> AsyncGenerator[VoiceActivity, None]:
        while True:
            activity = await self._activity.get()
            self._room.release()
            yield activity

    def reset_model(self) -> None:
        """Forget what was heard before."""
        self.state: _Floats = np.zeros((2, 128), np.float32)
        self._context = bytes(_CONTEXT_BYTES)

    def line_up(self) -> bool:
        """Whether to put this stream into the queue: it has a frame, and is neither there nor in a batch already."""
        if self._lined_up or not self._frames:
            return False
        self._lined_up = True
        return True

    def take(self) -> bytes:
        """The next frame, for the batch, with the end of the one before."""
        frame = self._frames.popleft()
        context, self._context = self._context, frame[-_CONTEXT_BYTES:]
        return context + frame

    def deliver(self, probability: float, state: _Floats) -> None:
        """The frame taken last has been judged."""
        self._lined_up = False
        self.state = state
        start = self._samples_done / SAMPLE_RATE
        self._samples_done += FRAME_SAMPLES
        self._activity.put_nowait(VoiceActivity(start, self._samples_done / SAMPLE_RATE, probability))


class VadProcessor:
    """Runs one Silero model for all sessions. `run` has to run for streams to get answers."""

    def __init__(self, model: Path) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._model = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._sample_rate = np.array(SAMPLE_RATE, np.int64)
        self._waiting: deque[VadStream] = deque()
        self._work = asyncio.Event()
        self.serving = False

    def stream(self) -> VadStream:
        """A new session's stream."""
        return VadStream(self)

    def enqueue(self, stream: VadStream) -> bool:
        """Give the stream its turn after those that wait already, if it has a frame; gives whether it does."""
        if not stream.line_up():
            return False
        self._waiting.append(stream)
        self._work.set()
        return True

    async def run(self) -> None:
        """Judge frames until cancelled."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, "vad") as thread:
            silence = np.zeros((1, _CONTEXT_SAMPLES + FRAME_SAMPLES), np.float32)
            await loop.run_in_executor(thread, self._infer, silence, np.zeros((2, 1, 128), np.float32))
            self.serving = True
            try:
                while True:
                    await self._work.wait()
                    next_batch = time.monotonic() + _BATCH_SECONDS
                    kept_up = await self._run_batch(loop, thread)
                    if kept_up and len(self._waiting) < _MAX_BATCH:
                        await asyncio.sleep(max(0.0, next_batch - time.monotonic()))
            finally:
                self.serving = False

    async def _run_batch(self, loop: asyncio.AbstractEventLoop, thread: ThreadPoolExecutor) -> bool:
        """Judge one frame each of the streams that wait longest; gives whether none of them has another one already."""
        streams = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MAX_BATCH))]
        audio = np.frombuffer(b"".join([stream.take() for stream in streams]), "<i2")
        # Here and not in the thread, which has to wait for Python's lock after every step that gives it up.
        frames = audio.reshape(len(streams), -1).astype(np.float32) / np.float32(32768)
        states = np.stack([stream.state for stream in streams], axis=1)
        metrics.vad_batch_size.observe(len(streams))
        try:
            probabilities, new_states = await loop.run_in_executor(thread, self._infer, frames, states)
        except Exception as error:  # these frames count as silence; the next ones may be judged again
            log.exception("vad_failed", kind=type(error).__name__)
            metrics.vad_errors.inc()
            probabilities, new_states = np.zeros((len(streams), 1), np.float32), np.zeros_like(states)
        for index, (stream, probability) in enumerate(zip(streams, probabilities[:, 0].tolist(), strict=True)):
            stream.deliver(probability, new_states[:, index])
        behind = [stream for stream in streams if self.enqueue(stream)]
        metrics.queue_depth.labels("vad").set(len(self._waiting))
        if not self._waiting:
            self._work.clear()
        return not behind

    def _infer(self, frames: _Floats, states: _Floats) -> tuple[_Floats, _Floats]:
        """Probabilities [N, 1] and new states [2, N, 128] for frames [N, 576] and states [2, N, 128]."""
        started = time.thread_time()
        probabilities, new_states = self._model.run(None, {"input": frames, "state": states, "sr": self._sample_rate})
        _cpu_seconds.inc(time.thread_time() - started)
        return probabilities, new_states
