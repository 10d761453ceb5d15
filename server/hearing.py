"""The caller's side of one call: their audio through decoder, VAD, recogniser and smart-turn into the conversation.

It decides nothing about turns and computes nothing on the event loop; what the conversation says is its caller's to do.
"""

import asyncio
import time
from collections.abc import Callable, Iterable

import structlog

from server.audio.formats import AudioFormat, Decoder
from server.conversation.commands import Glimpse, JudgeTurn, Transcribe
from server.conversation.conversation import Conversation
from server.conversation.events import Transcribed, TranscriptionFailed
from server.conversation.outputs import Output
from server.smart_turn_processor import SmartTurnProcessor
from server.stt_processor import SttError, SttSession
from server.vad_processor import VadStream

log = structlog.get_logger(__name__)

# Longer audio is decoded and resampled in steps, and other sessions have their turn between two of them.
_STEP_SECONDS = 0.1


class Hearing:
    """What is heard on one call. `perform` does what the conversation says to it."""

    def __init__(
        self,
        conversation: Conversation,
        vad: VadStream,
        stt: SttSession,
        smart_turn: SmartTurnProcessor,
        perform: Callable[[Iterable[Output]], None],
    ) -> None:
        self._conversation = conversation
        self._vad = vad
        self._stt = stt
        self._smart_turn = smart_turn
        self._perform = perform
        self._decoder: Decoder | None = None
        self._half_sample = b""  # clients cut audio anywhere
        self._transcriptions: dict[str, asyncio.Task[None]] = {}
        self._glimpse: asyncio.Task[None] | None = None
        self._judgement: asyncio.Task[None] | None = None

    async def hear(self, audio: bytes, wire: AudioFormat) -> None:
        """Take the caller's next audio; waits while much of it is unheard."""
        if self._decoder is None or self._decoder.format != wire:
            self._decoder, self._half_sample = Decoder(wire), b""
        audio = self._half_sample + audio
        whole = len(audio) - len(audio) % wire.sample_bytes
        audio, self._half_sample = audio[:whole], audio[whole:]
        step = round(wire.rate * _STEP_SECONDS) * wire.sample_bytes
        for offset in range(0, len(audio), step):
            if offset:
                await asyncio.sleep(0)
            pcm = self._decoder.decode(audio[offset : offset + step]).tobytes()
            self._conversation.append_audio(pcm)
            if self._conversation.config.turn_detection or self._conversation.config.transcribes:
                await self._vad.feed(pcm)
            else:
                self._vad.skip(pcm)

    async def take_turns(self) -> None:
        """Tell the conversation of each frame whether the caller speaks in it, until cancelled."""
        async for heard in self._vad:
            now = time.monotonic()
            self._perform(self._conversation.voice_activity(heard.start, heard.end, heard.probability, now))

    def ask(self, question: Transcribe | Glimpse | JudgeTurn, tasks: asyncio.TaskGroup) -> None:
        """Find out what the conversation wants to know of the audio, among `tasks`."""
        match question:
            case Transcribe():
                self._transcriptions[question.item_id] = tasks.create_task(self._transcribe(question))
            case Glimpse():
                if self._glimpse:
                    self._glimpse.cancel()
                self._glimpse = tasks.create_task(self._listen_ahead(question))
            case JudgeTurn():
                self._judgement = tasks.create_task(self._judge(question))

    def stop(self, item_id: str) -> None:
        """What was asked about the item is not wanted any more."""
        _cancel(self._transcriptions.pop(item_id, None), self._glimpse, self._judgement)

    def close(self) -> None:
        """Nothing is wanted any more."""
        _cancel(*self._transcriptions.values(), self._glimpse, self._judgement)

    async def _transcribe(self, command: Transcribe) -> None:
        config = self._conversation.config
        answer: Transcribed | TranscriptionFailed
        try:
            transcript = await self._stt.transcribe(
                command.pcm,
                config.language,
                config.vocabulary,
                command.fragment,
                command.thorough,
                config.token_probabilities,
            )
        except SttError as error:
            log.warning("transcription_failed", failure=error.failure)
            answer = TranscriptionFailed(command.item_id, 0, error.failure, str(error))
        else:
            seconds = len(command.pcm) / 32_000
            answer = Transcribed(command.item_id, 0, transcript.text, seconds, tokens=transcript.tokens)
        self._transcriptions.pop(command.item_id, None)
        self._perform(self._conversation.transcribed(command.attempt, answer, time.monotonic()))

    async def _listen_ahead(self, command: Glimpse) -> None:
        config = self._conversation.config
        seen = await self._stt.glimpse(command.pcm, config.language, config.vocabulary)
        words, sure = (seen.text, seen.sure) if seen else ("", False)
        sure = sure and not config.token_probabilities  # which only `transcribe` tells
        self._perform(self._conversation.glimpsed(command.item_id, command.attempt, words, sure))

    async def _judge(self, command: JudgeTurn) -> None:
        sounds_finished = await self._smart_turn.probability(command.pcm)
        if sounds_finished is not None:
            self._perform(self._conversation.turn_judged(command.item_id, command.attempt, sounds_finished))


def _cancel(*tasks: asyncio.Task[None] | None) -> None:
    for task in tasks:
        if task:
            task.cancel()
