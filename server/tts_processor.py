"""Speech synthesis as a session sees it: a clause in, its audio out, from the TTS worker that is well and least busy.

A worker that dies, hangs or refuses costs no clause: the rest of it comes from another, or from the same one after its
restart, without a gap or a doubled sample. It neither resamples nor paces.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Literal, Self

import grpc
import structlog

from server.errors import VoicefleetError
from server.normalization.english import spoken_form
from server.normalization.scripts import in_latin
from server.observability import metrics
from server.workers import speech_pb2
from server.workers.balancing import Ask, Attempts, GiveUp, Pause, WaitForWorker
from server.workers.clause_audio import BYTES_PER_SAMPLE, ClauseAudio, ImpossibleAudio
from server.workers.client import Credentials
from server.workers.engine import FIRST_AUDIO_SECONDS
from server.workers.rendition import Rendition
from server.workers.tts_pool import NobodyServes, TtsPool

Failure = Literal["busy", "unavailable", "timeout"]

_FAILURES: dict[grpc.StatusCode, Failure] = {
    grpc.StatusCode.RESOURCE_EXHAUSTED: "busy",
    grpc.StatusCode.DEADLINE_EXCEEDED: "timeout",
}

_RECORDING_SECONDS = 30.0  # that callers' clauses may come first

log = structlog.get_logger(__name__)


class TtsError(VoicefleetError):
    """A clause could not be spoken; `failure` says in a word why."""

    def __init__(self, failure: Failure, detail: str) -> None:
        super().__init__(f"speech synthesis failed ({failure}): {detail}")
        self.failure: Failure = failure


class TtsProcessor:
    """The gateway's one link to its TTS workers; shared by all sessions. `pool` knows how each of them is."""

    def __init__(self, *addresses: str, default_voice: str = "", credentials: Credentials | None = None) -> None:
        """`default_voice` speaks where a session names none, or one that the engine lacks; empty: the engine's own."""
        self.pool = TtsPool(addresses, credentials or Credentials())
        self._default_voice = default_voice
        self.spoken_seconds = 0.0
        """Audio that the workers made for this gateway since the start."""
        self._recordings: dict[str, bytes] = {}

    async def __aenter__(self) -> Self:
        """Wait until a worker serves, two minutes at most; the others join when they do. Raises `TtsError`."""
        try:
            await self.pool.__aenter__()
        except NobodyServes as error:
            raise TtsError("unavailable", str(error)) from None
        if self._default_voice and self._default_voice not in self.voices:
            log.warning("unknown_default_voice", voice=self._default_voice, known=sorted(self.voices))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Cancel what is under way."""
        await self.pool.__aexit__()

    @property
    def sample_rate(self) -> int:
        """Of all audio, in Hz; known once connected."""
        return self.pool.sample_rate

    @property
    def voices(self) -> frozenset[str]:
        """The names of the voices that all workers have which serve, so that each can go on where another broke off."""
        return self.pool.voices

    async def record(self, text: str) -> None:
        """Speak `text` in the default voice, and keep that for when no worker can. Raises `TtsError`."""
        needed_at = time.monotonic() + _RECORDING_SECONDS
        self._recordings[text] = b"".join([chunk async for chunk in self.synthesize(text, needed_at=needed_at)])

    def recorded(self, text: str) -> bytes | None:
        """What `record` kept of `text`: 16-bit little-endian mono PCM at `sample_rate`."""
        return self._recordings.get(text)

    def session(self) -> "TtsSession":
        """A new session's way to the workers."""
        return TtsSession(self)

    async def synthesize(
        self,
        text: str,
        voice: str = "",
        speed: float = 1.0,
        call: str = "",
        skip_samples: int = 0,
        needed_at: float = 0.0,
        rendition: Rendition | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """Speak `text`, in the words that a person would say: chunks of 16-bit little-endian mono PCM at `sample_rate`.

        There is none if it holds nothing to speak, or nothing that the engine can say. A voice that the workers lack is
        replaced, as clients send the names of other vendors' voices. `call` is whose share of a worker it takes; empty:
        nobody's. The first `skip_samples` of the audio are left out, which was said as `rendition` has it; what is said
        is added to that. The caller's playout needs the audio at `needed_at` (monotonic seconds); 0: the caller waits
        for it. Closing the generator frees the worker's slot. Raises `TtsError`.
        """
        request = speech_pb2.SynthesizeRequest(
            text=_aloud(text), voice=self._known(voice), speed=speed, call=call, skip_samples=skip_samples
        )
        attempts = Attempts(self.pool.balancer)
        error: TtsError | None = None
        rendition = rendition or Rendition()
        late_after = max(needed_at, time.monotonic() + FIRST_AUDIO_SECONDS)
        with metrics.queue_depth.labels("tts").track_inprogress():
            while True:
                address = await self._next_worker(attempts, error)
                if error and error.failure != "busy":
                    metrics.worker_retries.labels("tts").inc()
                request.progress.CopyFrom(rendition.at(request.skip_samples))
                request.needed_in_seconds = max(0.0, needed_at - time.monotonic())
                try:
                    async with aclosing(self._stream(address, request, rendition)) as chunks:
                        async for pcm in chunks:
                            if request.skip_samples == skip_samples:
                                _note_lateness(time.monotonic() - late_after)
                            request.skip_samples += len(pcm) // BYTES_PER_SAMPLE
                            self.spoken_seconds += len(pcm) / BYTES_PER_SAMPLE / self.sample_rate
                            yield pcm
                        return
                except TtsError as raised:
                    error = raised
                if error.failure == "busy":
                    attempts.refused(address, time.monotonic())
                else:
                    attempts.failed(address, time.monotonic())
                    self.pool.look_at(address)

    async def _next_worker(self, attempts: Attempts, error: TtsError | None) -> str:
        """Who is to be asked next, once it can be. To give up it raises `error`, or that nobody serves."""
        while True:
            changed = self.pool.changed
            match attempts.next(time.monotonic()):
                case Ask(address):
                    return address
                case Pause(seconds):
                    await asyncio.sleep(seconds)
                case WaitForWorker(seconds):
                    with suppress(TimeoutError):
                        async with asyncio.timeout(seconds):
                            await changed.wait()
                case GiveUp():
                    metrics.speech_errors.labels("tts").inc()
                    log.warning("nobody_speaks", reason=str(self.pool.nobody_serves()))
                    raise error or TtsError("unavailable", "no worker serves")

    def _known(self, voice: str) -> str:
        return next((name for name in (voice, self._default_voice) if name in self.voices), "")

    async def _stream(
        self, address: str, request: speech_pb2.SynthesizeRequest, rendition: Rendition
    ) -> AsyncGenerator[bytes, None]:
        in_flight = metrics.tts_worker_outstanding.labels(address)
        with self.pool.balancer.asked(address), in_flight.track_inprogress():
            call = self.pool.synthesize(address, request)
            audio = ClauseAudio(
                len(request.text),
                self.sample_rate,
                skipped=request.skip_samples * BYTES_PER_SAMPLE,
                needed_in=request.needed_in_seconds,
            )
            try:
                while True:
                    asked_at = time.monotonic()
                    async with asyncio.timeout(audio.patience):
                        # A read that is itself cancelled leaks the message that it was about to get (grpc#43360): it
                        # is left to end with the call.
                        chunk = await asyncio.shield(call.read())
                    if chunk is grpc.aio.EOF:
                        return
                    audio.take(chunk.pcm, time.monotonic() - asked_at)
                    if chunk.HasField("progress"):
                        rendition.take(chunk.progress, request.skip_samples)
                    yield chunk.pcm
            except TimeoutError:
                raise TtsError("timeout", "the worker gave no audio in time") from None
            except ImpossibleAudio as error:
                raise TtsError("unavailable", str(error)) from None
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.INVALID_ARGUMENT:  # another worker could not say it either
                    log.warning("clause_not_spoken", address=address)
                    return
                raise _tts_error(error) from None
            except Exception as error:
                raise TtsError("unavailable", type(error).__name__) from None
            finally:
                call.cancel()


class TtsSession:
    """One session's way to the workers: what it asks for counts as its own."""

    def __init__(self, processor: TtsProcessor) -> None:
        self._processor = processor
        self._call = secrets.token_hex(8)

    @property
    def sample_rate(self) -> int:
        """As `TtsProcessor.sample_rate`."""
        return self._processor.sample_rate

    def recorded(self, text: str) -> bytes | None:
        """As `TtsProcessor.recorded`."""
        return self._processor.recorded(text)

    def synthesize(
        self,
        text: str,
        voice: str = "",
        speed: float = 1.0,
        skip_samples: int = 0,
        needed_at: float = 0.0,
        rendition: Rendition | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """As `TtsProcessor.synthesize`."""
        return self._processor.synthesize(text, voice, speed, self._call, skip_samples, needed_at, rendition)


def _aloud(text: str) -> str:
    """`text` without digits, signs and scripts that a voice reads wrong or not at all."""
    if in_latin(text) != text:
        metrics.transliterated_clauses.inc()
        log.info("clause_transliterated", characters=len(text))
    return spoken_form(text)


def _note_lateness(seconds: float) -> None:
    """A clause's first audio came so long after it was needed; less than 0: it was in time."""
    metrics.clause_lateness_seconds.observe(max(0.0, seconds))
    if seconds > 0.0:
        metrics.late_clauses.inc()


def _tts_error(error: grpc.aio.AioRpcError) -> TtsError:
    """What the worker says of itself is for its operator, and callers read this."""
    failure = _FAILURES.get(error.code(), "unavailable")
    if failure == "busy":
        metrics.queue_refused.labels("tts").inc()
    return TtsError(failure, f"the worker answered {error.code().name}")
