"""Chatterbox Turbo behind the `TtsEngine` interface: an event loop on one side, the device's own thread on the other.

The thread owns the device; nobody else touches it. What is asked of it goes in by one queue, audio comes out by one
queue for each stream.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Future
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Protocol

import structlog

from server.errors import VoicefleetError
from server.workers.engine import EngineBusy, EngineFailed, Progress, Unspeakable, UnusableProgress, Voice
from server.workers.engines.chatterbox.calibration import calibrated
from server.workers.engines.chatterbox.capacity import Capacity
from server.workers.engines.chatterbox.checkpoint import SAMPLE_RATE
from server.workers.engines.chatterbox.conditionals import Conditionals
from server.workers.engines.chatterbox.core import Core, Request
from server.workers.engines.chatterbox.costs import HOPS_MEASURED, ROWS_MEASURED, Costs
from server.workers.engines.chatterbox.loop import Totals
from server.workers.engines.chatterbox.sampler import Sampling
from server.workers.engines.chatterbox.speech_tokens import STOP_TOKEN
from server.workers.engines.chatterbox.stream import Stream
from server.workers.engines.chatterbox.text import normalized, pieces, speech_token_cap

_STUCK_SECONDS = 5.0
"""A piece of work takes a fraction of a second; a device that is silent for so long will not come back."""

_PAUSE_SAMPLES = SAMPLE_RATE // 5  # between two pieces of a text
_SPEEDS = (0.5, 2.0)

log = structlog.get_logger(__name__)


class Voices(Protocol):
    """Every voice that can be asked for: `voices.VoiceLibrary`."""

    def list(self) -> Sequence[Voice]:
        """Those that can be used."""
        ...

    def look_again(self) -> None:
        """Find out about voices that were added, if that is due. May block."""
        ...

    def get(self, name: str) -> Conditionals:
        """The voice `name`, the default if it is empty. May block. Raises `UnknownVoice`."""
        ...


@dataclass(slots=True, eq=False)
class _Speech:
    """A text that is being spoken, piece by piece."""

    loop: asyncio.AbstractEventLoop
    audio: "asyncio.Queue[bytes | VoicefleetError | None]" = field(default_factory=asyncio.Queue)
    """At most a piece: the next one is not begun before this one was taken."""

    def put(self, item: bytes | VoicefleetError | None) -> None:
        """From the device's thread, which outlives the loop: then nobody listens any more."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.audio.put_nowait, item)


class ChatterboxEngine:
    """Speaks for as many streams as the device can keep from running dry."""

    name = "chatterbox"
    sample_rate: int = SAMPLE_RATE

    def __init__(
        self,
        core: Core,
        tokenize: Callable[[str], list[int]],
        voices: Voices,
        *,
        token_cap: Callable[[str], int] = speech_token_cap,
        capacity: Callable[[Costs, int], Capacity] = Capacity,
    ) -> None:
        """`token_cap` bounds the speech tokens of a piece; `capacity` makes of costs and rows what admits streams."""
        self._core = core
        self._tokenize = tokenize
        self._voices = voices
        self._token_cap = token_cap
        self._capacity: Capacity | None = None
        self._capacity_of = capacity
        self._speeches: set[_Speech] = set()
        self._inbox: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._busy_since: float | None = None
        self._ended = False

    def voices(self) -> Sequence[Voice]:
        """See `TtsEngine`. Gateways ask every second, so that a voice that was added is there within a minute."""
        asyncio.get_running_loop().run_in_executor(None, self._voices.look_again)
        return self._voices.list()

    def streams(self) -> int:
        """See `TtsEngine`."""
        return self._capacity.limit if self._capacity else 0

    def healthy(self) -> bool:
        """Whether the device answers."""
        since = self._busy_since
        return not self._ended and (since is None or time.monotonic() - since < _STUCK_SECONDS)

    @property
    def totals(self) -> Totals:
        """What was done since the start."""
        return self._core.totals

    async def warm_up(self) -> None:
        """Capture all graphs and find out how many streams the device can speak. Raises `EngineFailed`."""
        voice = await asyncio.to_thread(self._voices.get, "")
        capacity: Future[Capacity] = Future()
        self._thread = Thread(target=self._run, args=(voice, capacity), name="chatterbox-device", daemon=True)
        self._thread.start()
        self._capacity = await asyncio.wrap_future(capacity)

    async def close(self) -> None:
        """End every stream, and the thread if the device lets it."""
        self._inbox.put(None)
        if self._thread:
            await asyncio.to_thread(self._thread.join, _STUCK_SECONDS)

    async def synthesize(
        self, text: str, voice: str, speed: float, needed_in: float = 0.0, progress: Progress | None = None
    ) -> AsyncGenerator[bytes, None]:
        """See `TtsEngine`. `speed` is held between 0.5 and 2; audio comes up to 4 s ahead of its playout."""
        said = pieces(text)
        if not said:
            raise Unspeakable("the text holds no word to speak; it takes at least one letter, digit or tag")
        progress = progress or Progress()
        caps = [self._token_cap(piece) for piece in said]
        _check(progress, caps)
        needed_at = time.monotonic() + needed_in if needed_in else 0.0
        conditionals = await asyncio.to_thread(self._voices.get, voice)
        speech = self._admitted()
        try:
            now = time.monotonic()
            stream = Stream.new(now, caps[progress.piece], max(0.0, needed_at - now))
            stream.go_on(progress.tokens, max(0, progress.heard - progress.samples) / SAMPLE_RATE)
            while True:
                request = self._request(said[progress.piece], voice, conditionals, speed, speech)
                samples = progress.samples
                async with aclosing(self._spoken(stream, request, speech)) as audio:
                    async for pcm in audio:
                        progress.tokens = tuple(stream.draws)
                        samples += len(pcm) // 2
                        yield pcm
                if progress.piece + 1 == len(said):
                    return
                yield bytes(2 * _PAUSE_SAMPLES)
                progress.piece, progress.samples, progress.tokens = progress.piece + 1, samples + _PAUSE_SAMPLES, ()
                stream = stream.after(caps[progress.piece], _PAUSE_SAMPLES / SAMPLE_RATE)
        finally:
            self._speeches.discard(speech)

    def _admitted(self) -> _Speech:
        """A place for one more text. Raises `EngineBusy` or `EngineFailed`.

        There is one for each row, even where the device is too slow for so many: a call is refused at its start, by who
        knows `streams`, and its clauses are better late than lost.
        """
        if self._ended or self._capacity is None:
            raise EngineFailed("the device is lost; this worker has to be started again")
        if len(self._speeches) >= self._core.decoder.rows:
            raise EngineBusy(f"{len(self._speeches)} streams are all that the device has memory for")
        speech = _Speech(asyncio.get_running_loop())
        self._speeches.add(speech)
        return speech

    def _request(self, piece: str, voice: str, conditionals: Conditionals, speed: float, speech: _Speech) -> Request:
        """The same words in the same voice are always spoken with the same seed."""
        seed = hashlib.blake2b(f"{voice}\0{speed}\0{piece}".encode(), digest_size=7).digest()
        return Request(
            text=self._tokenize(normalized(piece)),
            voice=conditionals,
            sampling=Sampling(seed=int.from_bytes(seed, "big")),
            speed=min(max(speed, _SPEEDS[0]), _SPEEDS[1]),
            heard=speech.put,
            ended=speech.put,
        )

    async def _spoken(self, stream: Stream, request: Request, speech: _Speech) -> AsyncGenerator[bytes, None]:
        self._inbox.put(lambda: self._core.submit(stream, request))
        if self._ended:
            raise EngineFailed("the device is lost; this worker has to be started again")
        try:
            while (item := await speech.audio.get()) is not None:
                if isinstance(item, VoicefleetError):
                    raise item
                yield item
        finally:
            self._inbox.put(lambda: self._core.cancel(stream))

    def _run(self, voice: Conditionals, ready: "Future[Capacity]") -> None:
        """The device's thread. It begins with the warm-up, since cuDNN keeps its plans for each thread apart."""
        try:
            capacity = self._calibrated(voice)
        except BaseException as error:
            self._ended = True
            ready.set_exception(error)
            return
        ready.set_result(capacity)
        self._serve(capacity)

    def _calibrated(self, voice: Conditionals) -> Capacity:
        costs = calibrated(self._core, voice)
        self._core.loop.costs = costs
        self._core.loop.totals = Totals()
        capacity = self._capacity_of(costs, self._core.decoder.rows)
        log.info(
            "engine_calibrated",
            streams=capacity.limit,
            step_ms={rows: round(costs.step(rows) * 1e3, 2) for rows in ROWS_MEASURED},
            render_ms={hops: round(costs.render(hops) * 1e3, 2) for hops in HOPS_MEASURED},
            join_ms=round(costs.join * 1e3, 2),
        )
        return capacity

    def _serve(self, capacity: Capacity) -> None:
        """Work, and between any two pieces of it what was asked for meanwhile."""
        reason = "the engine is being closed"
        try:
            while self._answer(self._advance(capacity)):
                pass
        except Exception as error:
            log.exception("device_failed", error=type(error).__name__)
            reason = "the device failed under this stream"
        self._ended = True
        self._answer(0.0)  # what was asked for before that could be seen
        self._core.fail(EngineFailed(reason))

    def _advance(self, capacity: Capacity) -> float | None:
        """Do a piece of work. Gives the seconds that nothing needs doing; None for as long as nothing comes."""
        self._busy_since = time.monotonic()
        rest = self._core.advance()
        self._busy_since = None
        now = time.monotonic()
        capacity.observe(self._core.totals.late, now)
        if rest is None:
            return 0.0
        return None if rest.until is None else max(0.0, rest.until - now)

    def _answer(self, seconds: float | None) -> bool:
        """Do what was asked for, waiting so long for the first of it. False: to close."""
        try:
            asked = self._inbox.get(block=seconds != 0.0, timeout=seconds)
            while asked:
                asked()
                asked = self._inbox.get_nowait()
        except Empty:
            return True
        return False


def _check(progress: Progress, caps: Sequence[int]) -> None:
    """Raises `UnusableProgress` where a text in pieces of so many tokens at most can't have come so far."""
    if progress.piece >= len(caps):
        raise UnusableProgress(f"piece: got {progress.piece}; the text has {len(caps)}")
    most = caps[progress.piece]
    if len(progress.tokens) > most or max(progress.tokens, default=0) > STOP_TOKEN:
        raise UnusableProgress(
            f"tokens: got {len(progress.tokens)} up to {max(progress.tokens)}; takes {most} up to {STOP_TOKEN}"
        )
