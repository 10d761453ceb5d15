"""What the language model says, on its way to being said: LLM → filter → clauses → TTS, or text, or calls.

The model is read as fast as it writes, and the voice begins with the first clause. Nothing of it leaves from here:
whoever gives the answer takes the pieces, when it is time to; so both may begin before it is certain that anybody wants
the answer.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, replace

from server.conversation.config import ResponseConfig
from server.llm.clauses import ClauseCutter
from server.llm.interface import (
    ChatRequest,
    Finished,
    LlmError,
    Shortened,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from server.llm.output_filter import OutputFilter
from server.llm_processor import LlmProcessor
from server.observability.waterfall import Waterfall
from server.speech_ahead import SpeechAhead
from server.tts_processor import TtsSession

_CHARACTERS_PER_TOKEN = 4  # of English, about


@dataclass(frozen=True, slots=True)
class Clause:
    """Something to be said, and its audio (16-bit mono PCM), which fails with `TtsError`.

    That is how the voice says `voiced`, without the first `skipped` seconds.
    """

    text: str
    audio: SpeechAhead | AsyncGenerator[bytes, None]
    voiced: str
    skipped: float = 0.0


Piece = Clause | TextDelta | ToolCallStarted | ToolCallDelta | Shortened | Finished | LlmError


@dataclass(frozen=True, slots=True)
class Rest:
    """A clause that is to be said again, or the rest of it: `text`, as in `Clause`."""

    text: str
    voiced: str
    skipped: float


@dataclass(frozen=True, slots=True)
class Spent:
    """What an answer has cost so far: seconds of the model's work and of speech, and tokens.

    `usage` is None until the model has counted them itself; `output_tokens` are estimated until then.
    """

    model_seconds: float
    speech_seconds: float
    output_tokens: int
    usage: Usage | None


class Thinking:
    """One answer of the model, in pieces. `waterfall` may be put in place of another while it is under way."""

    def __init__(self, llm: LlmProcessor, tts: TtsSession, waterfall: Waterfall) -> None:
        self._llm = llm
        self._tts = tts
        self._task: asyncio.Task[None] | None = None
        self._ahead: SpeechAhead | None = None  # of the first clause
        self._began = time.monotonic()
        self._ended: float | None = None
        self._usage: Usage | None = None
        self._characters = 0  # that the model wrote
        self.waterfall = waterfall
        # `server.llm.bounds` bound the answer; a bound of its own would let a slow voice stall the model's stream.
        self.pieces: asyncio.Queue[Piece] = asyncio.Queue()
        self.wrote = False
        """Whether the model has written anything at all."""
        self.goes_on = False
        """Whether some of it has been uttered before."""
        self.failed = False

    def start(self, tasks: asyncio.TaskGroup, request: ChatRequest, config: ResponseConfig) -> "Thinking":
        """Ask the model."""
        self._config = config
        self._task = tasks.create_task(self._run(tasks, request, config))
        return self

    def recite(self, tasks: asyncio.TaskGroup, words: str, config: ResponseConfig) -> "Thinking":
        """Ask nobody: the answer is `words`, to be said."""
        cutter = ClauseCutter()
        for clause in (*cutter.push(words), *cutter.flush()):
            self.pieces.put_nowait(Clause(clause, self._voice(tasks, clause, config), clause))
        self.pieces.put_nowait(Finished("stop"))
        return self

    def stop(self) -> None:
        """Free model and voice: nobody wants to know any more."""
        if self._task:
            self._task.cancel()
        if self._ahead:
            self._ahead.stop()

    def go_on(self, rest: Iterable[Rest], finished: Finished | None, waterfall: Waterfall) -> None:
        """What was taken of it, clauses and perhaps its end, is to be given again, before what is still to come."""
        self.waterfall, self.goes_on = waterfall, True
        left = [self.pieces.get_nowait() for _ in range(self.pieces.qsize())]
        for one in rest:
            skipped = round(one.skipped * self._tts.sample_rate)
            audio = self._tts.synthesize(one.voiced, self._config.voice, self._config.speed, skipped)
            self.pieces.put_nowait(Clause(one.text, audio, one.voiced, one.skipped))
        if finished:
            self.pieces.put_nowait(replace(finished, usage=Usage()))  # which has been counted
        for piece in left:
            self.pieces.put_nowait(piece)

    def spent(self, now: float) -> Spent:
        """What it has cost up to `now` (monotonic seconds)."""
        return Spent(
            (self._ended or now) - self._began,
            self._ahead.seconds if self._ahead else 0.0,
            self._usage.output_tokens if self._usage else round(self._characters / _CHARACTERS_PER_TOKEN),
            self._usage,
        )

    async def _run(self, tasks: asyncio.TaskGroup, request: ChatRequest, config: ResponseConfig) -> None:
        """Read the model's answer into pieces to be uttered; its failure comes after what it wrote before."""
        aloud = config.modality == "audio"
        # Text that the application asked for beside the conversation is its own, and may be markup.
        for_caller, cutter = OutputFilter(markup=aloud or config.in_conversation), ClauseCutter()
        put = self.pieces.put_nowait

        def say(clauses: list[str]) -> None:
            for clause in clauses:
                self.waterfall.mark("llm_first_clause", time.monotonic())
                put(Clause(clause, self._voice(tasks, clause, config), clause))

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
                    self.waterfall.mark("llm_first_token", time.monotonic())
                    if isinstance(event, TextDelta):
                        self.wrote = True
                        self._characters += len(event.text)
                        text = for_caller.push(event.text)
                        if for_caller.takes_back:
                            cutter = ClauseCutter()
                            self._take_back()
                        write(text)
                        continue
                    if isinstance(event, ToolCallDelta):
                        self._characters += len(event.arguments)
                    elif isinstance(event, Finished):
                        self._usage = event.usage
                    write_rest()
                    put(event)
        except LlmError as error:
            self.failed = True
            write_rest()
            put(error)
        self._ended = time.monotonic()

    def _voice(
        self, tasks: asyncio.TaskGroup, clause: str, config: ResponseConfig
    ) -> SpeechAhead | AsyncGenerator[bytes, None]:
        """The clause's audio; that of the first begins now, that of the others when somebody listens."""
        speech = self._tts.synthesize(clause, config.voice, config.speed)
        if self._ahead:
            return speech
        self._ahead = SpeechAhead(tasks, speech, self._tts.sample_rate)
        return self._ahead

    def _take_back(self) -> None:
        """What was written so far and is not uttered yet is not to be."""
        pieces = [self.pieces.get_nowait() for _ in range(self.pieces.qsize())]
        for piece in pieces:
            match piece:
                case Clause(audio=SpeechAhead() as ahead):
                    ahead.stop()
                    self._ahead = None
                case Clause() | TextDelta():
                    pass
                case _:
                    self.pieces.put_nowait(piece)
