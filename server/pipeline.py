"""One call, from its messages to its messages: the shell around a conversation.

It reads, pushes into the conversation, and does what the conversation says: VAD → turn-taking → STT, and for an answer
LLM → TTS → pacer. It decides nothing about turns, computes nothing on the event loop, and lives and dies as one group
of tasks.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass

import structlog

from server.access.rate_limit import AudioAllowance, AudioRateExceeded
from server.answer import Answer
from server.audio.formats import Decoder
from server.conversation.conversation import Conversation
from server.conversation.events import (
    Generate,
    ItemsLeftOut,
    PlayoutRanDry,
    ResponseDone,
    StopGenerating,
    StopTranscribing,
    Transcribe,
    Transcribed,
    TranscriptionFailed,
    TurnEnded,
)
from server.dialects.dialect import AudioReceived, Dialect, DialectOutput, FieldsIgnored, Reply, Told
from server.errors import VoicefleetError
from server.llm_processor import LlmProcessor
from server.observability import metrics
from server.observability.waterfall import Waterfall
from server.settings.settings import Settings
from server.stt_processor import SttError, SttProcessor
from server.tts_processor import TtsProcessor
from server.vad_processor import VadProcessor

log = structlog.get_logger(__name__)

# Some ten seconds of an answer: a client that has not read so much for so long will not catch up.
_MAX_OUTGOING = 256
# Longer audio is decoded and resampled in steps, and other sessions have their turn between two of them.
_STEP_SECONDS = 0.1
_TICK_SECONDS = 0.25


class SlowClient(VoicefleetError):
    """The client does not read what it is sent, and that no longer fits into memory."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What all calls share."""

    vad: VadProcessor
    stt: SttProcessor
    llm: LlmProcessor
    tts: TtsProcessor


class Session:
    """One call. `send` takes a message for the client and waits while the client's socket is full."""

    def __init__(
        self,
        parts: Parts,
        settings: Settings,
        conversation: Conversation,
        dialect: Dialect,
        send: Callable[[bytes], Awaitable[None]],
    ) -> None:
        self._parts = parts
        self._settings = settings
        self._conversation = conversation
        self._dialect = dialect
        self._send = send
        self._outgoing: asyncio.Queue[bytes] = asyncio.Queue(_MAX_OUTGOING)
        self._vad = parts.vad.stream()
        self._decoder = Decoder(dialect.input_format)
        self._half_sample = b""  # clients cut audio anywhere
        self._allowance = AudioAllowance(settings.audio_rate, settings.audio_burst_seconds)
        self._transcriptions: dict[str, asyncio.Task[None]] = {}
        self._answer: asyncio.Task[None] | None = None
        self._waterfall: Waterfall | None = None

    async def run(self, messages: AsyncIterator[str | bytes]) -> None:
        """Serve the call until `messages` ends. Raises an exception group, perhaps with `SlowClient` in it."""
        async with asyncio.TaskGroup() as self._tasks:
            ending = [self._tasks.create_task(work) for work in (self._write(), self._take_turns(), self._keep_time())]
            self._perform(self._dialect.greet())
            async for message in messages:
                for output in self._dialect.receive(message, time.monotonic()):
                    if isinstance(output, AudioReceived):
                        await self._hear(output)
                    else:
                        self._perform([output])
            for task in (*ending, *self._transcriptions.values(), self._answer):
                if task:
                    task.cancel()

    # --- the caller's voice

    async def _hear(self, received: AudioReceived) -> None:
        wire = self._dialect.input_format
        if self._decoder.format != wire:
            self._decoder, self._half_sample = Decoder(wire), b""
        try:
            self._allowance.take(wire.duration(len(received.audio)), time.monotonic())
        except AudioRateExceeded as error:
            self._perform([self._dialect.refuse(error, received.event_id)])
            return
        audio = self._half_sample + received.audio
        whole = len(audio) - len(audio) % wire.sample_bytes
        audio, self._half_sample = audio[:whole], audio[whole:]
        step = round(wire.rate * _STEP_SECONDS) * wire.sample_bytes
        for offset in range(0, len(audio), step):
            if offset:
                await asyncio.sleep(0)
            pcm = self._decoder.decode(audio[offset : offset + step]).tobytes()
            self._conversation.append_audio(pcm)
            if self._conversation.config.turn_detection:
                await self._vad.feed(pcm)
            else:
                self._vad.skip(pcm)

    async def _take_turns(self) -> None:
        async for heard in self._vad:
            now = time.monotonic()
            self._perform(self._conversation.voice_activity(heard.start, heard.end, heard.probability, now))

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            self._perform(self._conversation.tick(time.monotonic()))

    async def _transcribe(self, command: Transcribe) -> None:
        config = self._conversation.config
        answer: Transcribed | TranscriptionFailed
        try:
            transcript = await self._parts.stt.transcribe(command.pcm, config.language, config.vocabulary)
        except SttError as error:
            log.warning("transcription_failed", failure=error.failure)
            answer = TranscriptionFailed(command.item_id, 0, error.failure, str(error))
        else:
            answer = Transcribed(command.item_id, 0, transcript.text, len(command.pcm) / 32_000)
        self._transcriptions.pop(command.item_id, None)
        self._perform(self._conversation.transcribed(command.attempt, answer, time.monotonic()))

    # --- what the conversation says

    def _perform(self, outputs: Iterable[DialectOutput]) -> None:
        for output in outputs:
            match output:
                case Transcribe():
                    self._transcriptions[output.item_id] = self._tasks.create_task(self._transcribe(output))
                case StopTranscribing():
                    if task := self._transcriptions.pop(output.item_id, None):
                        task.cancel()
                case Generate():
                    self._answer = self._tasks.create_task(self._give_answer(output))
                case StopGenerating():
                    # An answer that failed ends by itself, and must not be cut off while it says so.
                    if self._answer and self._answer is not asyncio.current_task():
                        self._answer.cancel()
                case TurnEnded():
                    now = time.monotonic()
                    self._waterfall = Waterfall(now - output.silence)
                    self._waterfall.mark("endpointing", now)
                case PlayoutRanDry() | ItemsLeftOut() | FieldsIgnored():
                    _note(output)
                case AudioReceived():
                    raise AssertionError("audio is heard, not performed")
                case _:
                    self._tell(output)

    def _tell(self, output: Told) -> None:
        match output:
            case Transcribed(transcript=transcript) if self._waterfall:
                self._waterfall.mark("stt", time.monotonic())
                if not transcript:
                    self._waterfall = None  # it was no turn
            case ResponseDone(response=response):
                metrics.turns.labels(response.status).inc()
                if response.reason == "turn_detected":
                    metrics.interruptions.inc()
                log.info("answer_ended", turn_id=response.id, status=response.status, reason=response.reason)
            case Reply(message={"type": "error", "error": {"code": code}}):
                metrics.client_errors.labels(code).inc()
        for message in self._dialect.encode(output):
            try:
                self._outgoing.put_nowait(message)
            except asyncio.QueueFull:
                metrics.queue_refused.labels("outgoing").inc()
                raise SlowClient from None

    async def _write(self) -> None:
        while True:
            await self._send(await self._outgoing.get())

    async def _give_answer(self, generate: Generate) -> None:
        structlog.contextvars.bind_contextvars(turn_id=generate.response.id)
        waterfall, self._waterfall = self._waterfall or Waterfall(time.monotonic()), None
        answer = Answer(self._parts.llm, self._parts.tts, self._conversation, self._perform, waterfall)
        await answer.give(generate, self._dialect.output_format, self._settings.send_ahead_seconds)


def _note(output: PlayoutRanDry | ItemsLeftOut | FieldsIgnored) -> None:
    """What only an operator is to know."""
    match output:
        case PlayoutRanDry():
            metrics.audio_underruns.inc()
        case ItemsLeftOut(count):
            metrics.context_items_left_out.inc(count)
            log.info("conversation_shortened", count=count)
        case FieldsIgnored(names):
            log.info("fields_ignored", names=names)
