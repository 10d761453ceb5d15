"""One answer on its way to the caller: LLM → filter → clauses → TTS → pacer.

The model is read as fast as it writes; what it writes is spoken clause by clause; audio leaves on absolute deadlines,
never further ahead of playout than the cushion allows. Cancelling the task that gives an answer frees model and voice.
An answer that ends without anything for the caller ends with a reason.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal

import structlog

from server.audio.formats import AudioFormat, Encoder
from server.conversation.config import ResponseConfig
from server.conversation.conversation import Conversation
from server.conversation.events import Generate
from server.conversation.response import Failure, Response
from server.dialects.dialect import DialectOutput, TurnTimings
from server.llm.clauses import ClauseCutter
from server.llm.interface import (
    ChatRequest,
    Finished,
    LlmError,
    Shortened,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
)
from server.llm.output_filter import OutputFilter
from server.llm_processor import LlmProcessor
from server.observability import metrics
from server.observability.waterfall import Waterfall
from server.tts_processor import TtsError, TtsProcessor

log = structlog.get_logger(__name__)

# What the voice leaves out at a clause's edges, set again: a breath between sentences, less inside one.
_SENTENCE_PAUSE_SECONDS = 0.2
_CLAUSE_PAUSE_SECONDS = 0.08
_SENTENCE_ENDS = tuple(".!?…。！？")  # noqa: RUF001  # of every script


@dataclass(frozen=True, slots=True)
class Clause:
    """Something to be said."""

    text: str


Piece = Clause | TextDelta | ToolCallStarted | ToolCallDelta | Shortened | Finished | LlmError
Silence = Literal["empty", "hidden", "unspeakable", "length", "content_filter"]
"""Why an answer holds nothing for the caller."""

_SILENCES: dict[Silence, str] = {
    "empty": "the language model ended its answer without a word",
    "hidden": "the language model's answer holds only thoughts and markup, and nothing for the caller",
    "unspeakable": "the voice has no sounds for the script of the answer; its text is in the transcript",
}


class Answer:
    """Gives one answer. `perform` does what the conversation says, at once."""

    def __init__(
        self,
        llm: LlmProcessor,
        tts: TtsProcessor,
        conversation: Conversation,
        perform: Callable[[Iterable[DialectOutput]], None],
        waterfall: Waterfall,
    ) -> None:
        self._llm = llm
        self._tts = tts
        self._conversation = conversation
        self._perform = perform
        self._waterfall = waterfall
        # The model's output tokens bound it; a bound of its own would let a slow voice stall the model's stream.
        self._pieces: asyncio.Queue[Piece] = asyncio.Queue()
        self._wrote = False  # the model, anything at all
        self._unspeakable = False  # a clause
        self._uttered = False  # anything that reached the client

    async def give(self, generate: Generate, output: AudioFormat, send_ahead: float) -> None:
        """Give the whole answer, in the client's format, at most `send_ahead` seconds before it is played."""
        response = generate.response
        speaker = _Speaker(self._tts, self._conversation, self._perform, response, output, send_ahead, self._waterfall)
        async with asyncio.TaskGroup() as tasks:
            thinking = tasks.create_task(self._think(generate.request, response.config))
            try:
                finished = await self._utter(response.id, speaker)
            except (LlmError, TtsError) as error:
                log.warning("answer_failed", failure=error.failure)
                failure = Failure(error.failure, str(error))
                self._perform(self._conversation.fail(response.id, failure, time.monotonic()))
            else:
                self._perform(self._end(response.id, finished))
            thinking.cancel()

    def _end(self, response_id: str, finished: Finished) -> Iterable[DialectOutput]:
        """The model has written everything, and all of it has been uttered; or there was nothing to utter."""
        now, silence = time.monotonic(), self._silence(finished)
        if silence:
            metrics.silent_answers.labels(silence).inc()
            log.warning("answer_silent", reason=silence)
        if silence in _SILENCES:
            failure = Failure(f"{silence}_answer", _SILENCES[silence])
            return self._conversation.fail(response_id, failure, now, finished.usage)
        return self._conversation.finish(response_id, finished, now)

    def _silence(self, finished: Finished) -> Silence | None:
        if self._uttered:
            return None
        if finished.reason in ("length", "content_filter"):
            return finished.reason
        return "unspeakable" if self._unspeakable else "hidden" if self._wrote else "empty"

    async def _think(self, request: ChatRequest, config: ResponseConfig) -> None:
        """Read the model's answer into pieces to be uttered; its failure comes after what it wrote before."""
        aloud = config.modality == "audio"
        # Text that the application asked for beside the conversation is its own, and may be markup.
        for_caller, cutter = OutputFilter(markup=aloud or config.in_conversation), ClauseCutter()
        put = self._pieces.put_nowait

        def say(clauses: list[str]) -> None:
            for clause in clauses:
                self._waterfall.mark("llm_first_clause", time.monotonic())
                put(Clause(clause))

        def write(text: str) -> None:
            if aloud:
                say(cutter.push(text))
            elif text:
                put(TextDelta(text))

        def write_rest() -> None:
            write(for_caller.flush())
            say(cutter.flush())

        try:
            async with aclosing(self._llm.stream(request)) as events:
                async for event in events:
                    if isinstance(event, Shortened):
                        put(event)
                        continue
                    self._waterfall.mark("llm_first_token", time.monotonic())
                    if isinstance(event, TextDelta):
                        self._wrote = True
                        text = for_caller.push(event.text)
                        if for_caller.takes_back:
                            cutter = ClauseCutter()
                            self._take_back()
                        write(text)
                        continue
                    write_rest()
                    put(event)
        except LlmError as error:
            write_rest()
            put(error)

    def _take_back(self) -> None:
        """What was written so far and is not uttered yet is not to be."""
        pieces = [self._pieces.get_nowait() for _ in range(self._pieces.qsize())]
        for piece in pieces:
            if not isinstance(piece, Clause | TextDelta):
                self._pieces.put_nowait(piece)

    async def _utter(self, response_id: str, speaker: "_Speaker") -> Finished:
        conversation = self._conversation
        while True:
            await asyncio.sleep(0)  # `get` gives nobody a turn while it has something, and the writer needs one
            match await self._pieces.get():
                case Clause(text):
                    if await speaker.say(text):
                        self._uttered = True
                    else:
                        self._unspeakable = True
                        metrics.unspoken_clauses.inc()
                        log.warning("clause_unspoken", characters=len(text))
                case TextDelta(text):
                    self._uttered = True
                    self._perform(conversation.write(response_id, text))
                case ToolCallStarted(call_id, name):
                    self._uttered = True
                    speaker.stop()
                    self._perform(conversation.call(response_id, call_id, name))
                case Shortened(gone):
                    self._perform(conversation.shortened(response_id, gone))
                case ToolCallDelta(_, arguments):
                    self._perform(conversation.call_arguments(response_id, arguments))
                case Finished() as finished:
                    speaker.stop()
                    return finished
                case LlmError() as error:
                    speaker.stop()
                    raise error


class _Speaker:
    """Speaks clauses into the conversation, paced."""

    def __init__(
        self,
        tts: TtsProcessor,
        conversation: Conversation,
        perform: Callable[[Iterable[DialectOutput]], None],
        response: Response,
        output: AudioFormat,
        send_ahead: float,
        waterfall: Waterfall,
    ) -> None:
        self._tts = tts
        self._conversation = conversation
        self._perform = perform
        self._response = response
        self._output = output
        self._send_ahead = send_ahead
        self._waterfall = waterfall
        self._encoder = Encoder(output, tts.sample_rate)
        self._said = ""
        self._left = self._left_on_time = time.monotonic()  # the frame before; when it did and when it should have

    async def say(self, clause: str) -> bool:
        """Synthesize a clause and send its audio when it is due; whether there was any. Raises `TtsError`."""
        config = self._response.config
        started = False
        async with aclosing(self._tts.synthesize(clause, config.voice, config.speed)) as chunks:
            async for pcm in chunks:
                if not started:
                    started = True
                    await self._begin(clause)
                await self._send(self._encoder.encode(pcm))
        if not started:
            self._perform(self._conversation.unspoken(self._response.id, clause))
        return started

    def stop(self) -> None:
        """Nothing is spoken after this for now: send the last samples, which the resampler still holds."""
        if self._said:
            self._said = ""
            self._speak(self._encoder.flush())
            self._encoder = Encoder(self._output, self._tts.sample_rate)

    async def _begin(self, clause: str) -> None:
        if self._said:
            pause = _SENTENCE_PAUSE_SECONDS if self._said.endswith(_SENTENCE_ENDS) else _CLAUSE_PAUSE_SECONDS
            await self._send(self._encoder.encode(bytes(2 * round(pause * self._tts.sample_rate))))
        self._said = clause
        self._perform(self._conversation.say(self._response.id, clause))

    async def _send(self, audio: bytes) -> None:
        due = self._conversation.playback.ends_at - self._send_ahead
        now = time.monotonic()
        # When the voice would have brought it, had all frames before it left on time; if that is after it was due, the
        # voice is late and not the gateway.
        came = self._left_on_time + (now - self._left)
        if due > now:
            await asyncio.sleep(due - now)
        self._speak(audio)
        self._left, self._left_on_time = time.monotonic(), max(came, due)
        if due > came:
            metrics.frame_lateness_seconds.observe(max(0.0, self._left - due))

    def _speak(self, audio: bytes) -> None:
        if not audio:
            return
        now = time.monotonic()
        self._perform(self._conversation.speak(self._response.id, audio, self._output.duration(len(audio)), now))
        if "tts_first_audio" not in self._waterfall:
            self._waterfall.mark("tts_first_audio", now)
            self._waterfall.observe()
            self._perform([TurnTimings(self._response.id, self._waterfall.stages_ms())])
