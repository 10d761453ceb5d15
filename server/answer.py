"""One answer on its way to the caller: what the model thinks → TTS → pacer.

It is spoken clause by clause; audio leaves on absolute deadlines, never further ahead of playout than the cushion
allows. An answer that ends without anything for the caller ends with a reason.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack, aclosing, suppress
from typing import Literal

import structlog

from server.answer_rest import Said, unheard
from server.audio.formats import AudioFormat, Encoder
from server.conversation.commands import GoesOn
from server.conversation.conversation import Conversation
from server.conversation.response import Failure, Response
from server.dialects.dialect import DialectOutput, TurnTimings
from server.llm.clauses import pause_after
from server.llm.interface import (
    Finished,
    LlmError,
    Shortened,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
)
from server.observability import metrics
from server.observability.waterfall import Waterfall
from server.spoken_lines import LineKind
from server.thinking import Clause, Thinking
from server.tts_processor import TtsError

log = structlog.get_logger(__name__)

Silence = Literal["empty", "hidden", "unspeakable", "length", "content_filter"]
"""Why an answer holds nothing for the caller."""

_SILENCES: dict[Silence, str] = {
    "empty": "the language model ended its answer without a word",
    "hidden": "the language model's answer holds only thoughts and markup, and nothing for the caller",
    "unspeakable": "the voice has no sounds for the script of the answer; its text is in the transcript",
}


_KINDS: dict[str, LineKind] = {"throttled": "busy", "busy": "busy"}
"""What a caller is told of a failure."""


class Answer:
    """Gives one answer, to which `thinking` has begun, with a voice of `sample_rate` Hz.

    `perform` does what the conversation says, at once. `line` is held from its first spoken word to its end: a caller
    hears one answer at a time.
    """

    def __init__(
        self,
        thinking: Thinking,
        sample_rate: int,
        conversation: Conversation,
        perform: Callable[[Iterable[DialectOutput]], None],
        line: asyncio.Lock,
    ) -> None:
        self._thinking = thinking
        self._sample_rate = sample_rate
        self._conversation = conversation
        self._perform = perform
        self._line = line
        self._has_line = False
        self._excused = False  # by a line in place of the answer, or of its rest
        self._unspeakable = False  # a clause
        self._uttered = thinking.goes_on  # anything that reached the client
        self._said: list[Said] = []
        self._finished: Finished | None = None
        self.may_go_on = False
        """Whether the rest may be wanted of what the model thinks, if this is broken off."""

    async def give(self, response: Response, output: AudioFormat, send_ahead: float) -> None:
        """Give the whole answer, in the client's format, at most `send_ahead` seconds before it is played."""
        waterfall, rate = self._thinking.waterfall, self._sample_rate
        speaker = _Speaker(rate, self._conversation, self._perform, response, output, send_ahead, waterfall, self._said)
        finished: Finished | None = None
        failure: Failure | None = None
        async with AsyncExitStack() as speaking:
            try:
                finished = await self._utter(response.id, speaker, speaking)
            except (LlmError, TtsError) as error:
                log.warning("answer_failed", failure=error.failure)
                failure = Failure(error.failure, str(error))
                kind = _KINDS.get(error.failure, "failed")
                await self._say_instead(response.id, kind, speaker, speaking)
            else:
                if silence := self._silence(finished):
                    metrics.silent_answers.labels(silence).inc()
                    log.warning("answer_silent", reason=silence)
                    if silence in _SILENCES:
                        failure = Failure(f"{silence}_answer", _SILENCES[silence])
                    await self._say_instead(response.id, "no_answer", speaker, speaking)
        now = time.monotonic()
        if failure:
            usage = finished.usage if finished else None
            self._perform(self._conversation.fail(response.id, failure, now, usage))
        elif finished:
            self._perform(self._conversation.finish(response.id, finished, now))

    def rest(self, goes_on: GoesOn, waterfall: Waterfall) -> Thinking | None:
        """What is still to be said of the answer; None if that is not at hand."""
        thinking = self._thinking
        if self._excused or not (self.may_go_on or self._finished):
            return None
        thinking.go_on(unheard(self._said, goes_on), self._finished, waterfall)
        return thinking

    def let_go(self) -> None:
        """Free model and voice: nobody wants the rest."""
        self._thinking.stop()

    async def _say_instead(
        self, response_id: str, kind: LineKind, speaker: "_Speaker", speaking: AsyncExitStack
    ) -> None:
        """Say what a caller hears in place of the answer, or of its rest; where even that has no sound, nothing."""
        words = self._conversation.line_instead(response_id, kind)
        if not words:
            return
        self._excused = True
        await self._take_line(speaking)
        self._perform(self._conversation.break_off(response_id, kind))
        with suppress(TtsError):
            for clause in self._thinking.line(words):
                await speaker.say(clause)
        speaker.stop()

    async def _take_line(self, speaking: AsyncExitStack) -> None:
        if not self._has_line:
            self._has_line = True
            await speaking.enter_async_context(self._line)

    def _silence(self, finished: Finished) -> Silence | None:
        if self._uttered:
            return None
        if finished.reason in ("length", "content_filter"):
            return finished.reason
        return "unspeakable" if self._unspeakable else "hidden" if self._thinking.wrote else "empty"

    async def _utter(self, response_id: str, speaker: "_Speaker", speaking: AsyncExitStack) -> Finished:
        conversation = self._conversation
        while True:
            await asyncio.sleep(0)  # `get` gives nobody a turn while it has something, and the writer needs one
            match await self._thinking.pieces.get():
                case Clause() as clause:
                    await self._take_line(speaking)
                    if await speaker.say(clause):
                        self._uttered = True
                    else:
                        self._unspeakable = True
                        metrics.unspoken_clauses.inc()
                        log.warning("clause_unspoken", characters=len(clause.text))
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
                    self._finished = finished
                    speaker.stop()
                    return finished
                case LlmError() as error:
                    speaker.stop()
                    raise error


class _Speaker:
    """Speaks clauses into the conversation, paced."""

    def __init__(
        self,
        sample_rate: int,
        conversation: Conversation,
        perform: Callable[[Iterable[DialectOutput]], None],
        response: Response,
        output: AudioFormat,
        send_ahead: float,
        waterfall: Waterfall,
        said: list[Said],
    ) -> None:
        self._sample_rate = sample_rate
        self._conversation = conversation
        self._perform = perform
        self._response = response
        self._output = output
        self._send_ahead = send_ahead
        self._waterfall = waterfall
        self._encoder = Encoder(output, sample_rate)
        self._said = ""
        self._clauses = said
        self._seconds = 0.0  # of audio that was sent
        self._left = self._left_on_time = time.monotonic()  # the frame before; when it did and when it should have

    async def say(self, clause: Clause) -> bool:
        """Send a clause's audio when it is due; whether there was any. Raises `TtsError`."""
        started = False
        self._clauses.append(Said(clause, self._seconds))
        async with aclosing(clause.audio) as chunks:
            async for pcm in chunks:
                if not started:
                    started = True
                    await self._begin(clause.text)
                await self._send(self._encoder.encode(pcm))
        if started:
            self._conversation.end_clause(self._response.id)
        else:
            self._perform(self._conversation.unspoken(self._response.id, clause.text))
        return started

    def stop(self) -> None:
        """Nothing is spoken after this for now: send the last samples, which the resampler still holds."""
        if self._said:
            self._said = ""
            self._speak(self._encoder.flush())
            self._encoder = Encoder(self._output, self._sample_rate)

    async def _begin(self, clause: str) -> None:
        if self._said:
            await self._send(self._encoder.encode(bytes(2 * round(pause_after(self._said) * self._sample_rate))))
        self._said = clause
        self._clauses[-1].start = self._seconds
        self._perform(self._conversation.begin_clause(self._response.id, clause))

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
        now, seconds = time.monotonic(), self._output.duration(len(audio))
        self._seconds += seconds
        self._perform(self._conversation.speak(self._response.id, audio, seconds, now))
        if "tts_first_audio" not in self._waterfall:
            self._waterfall.mark("tts_first_audio", now)
            self._waterfall.observe()
            self._perform([TurnTimings(self._response.id, self._waterfall.stages_ms())])
