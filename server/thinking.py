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
from functools import partial

from server.conversation.config import ResponseConfig
from server.llm.clauses import ClauseCutter
from server.llm.interface import (
    ChatRequest,
    Finished,
    LlmError,
    Shortened,
    TakenOver,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from server.llm.output_filter import OutputFilter
from server.llm_processor import LlmProcessor
from server.observability.waterfall import Waterfall
from server.speech_ahead import Playout, SpeechAhead
from server.tts_processor import TtsSession
from server.workers.rendition import Rendition

_CHUNK_BYTES = 4096  # of recorded speech; some 0.1 s
_CHARACTERS_PER_TOKEN = 4  # of English, about


@dataclass(frozen=True, slots=True)
class Clause:
    """Something to be said, and its audio (16-bit mono PCM), which fails with `TtsError`.

    That is how the voice says `voiced`, in that `rendition`, without the first `skipped` seconds.
    """

    text: str
    audio: SpeechAhead
    voiced: str
    rendition: Rendition
    skipped: float = 0.0

    @property
    def again(self) -> "Rest":
        """All of it, to be said from its beginning."""
        return Rest(self.text, self.voiced, self.rendition, self.skipped)


Piece = Clause | TextDelta | ToolCallStarted | ToolCallDelta | Shortened | Finished | LlmError


@dataclass(frozen=True, slots=True)
class Rest:
    """A clause that is to be said again, or the rest of it: `text`, as in `Clause`."""

    text: str
    voiced: str
    rendition: Rendition
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
        self._speech: list[SpeechAhead] = []  # of all clauses, as they are to be heard
        self._playout = Playout()
        self._began = time.monotonic()
        self._ended: float | None = None
        self._usage: Usage | None = None
        self._characters = 0  # of text that the model wrote
        self.waterfall = waterfall
        # `server.llm.bounds` bound the answer; a bound of its own would let a slow voice stall the model's stream.
        self.pieces: asyncio.Queue[Piece] = asyncio.Queue()
        self.wanted = asyncio.Event()
        """Set once it is certain that the answer is needed; until then only one model is asked for it."""
        self.wrote = False
        """Whether the model has written anything at all."""
        self.goes_on = False
        """Whether some of it has been uttered before."""
        self.failed = False

    def start(self, tasks: asyncio.TaskGroup, request: ChatRequest, config: ResponseConfig) -> "Thinking":
        """Ask the model."""
        self._tasks, self._config = tasks, config
        self._task = tasks.create_task(self._run(request, config))
        return self

    def recite(self, tasks: asyncio.TaskGroup, words: str, config: ResponseConfig) -> "Thinking":
        """Ask nobody: the answer is `words`, to be said."""
        self._tasks, self._config = tasks, config
        for clause in self.line(words):
            self.pieces.put_nowait(clause)
        self.pieces.put_nowait(Finished("stop"))
        return self

    def line(self, words: str) -> list[Clause]:
        """`words` to be said: as they were recorded, if they were, which needs no voice."""
        if pcm := self._tts.recorded(words):
            audio = SpeechAhead(self._tasks, partial(_played, pcm), self._tts.sample_rate, self._playout)
            self._speech.append(audio)
            return [Clause(words, audio, words, Rendition())]
        cutter = ClauseCutter()
        clauses = [*cutter.push(words), *cutter.flush()]
        return [self._clause(Rest(clause, clause, Rendition(), 0.0)) for clause in clauses]

    def stop(self) -> None:
        """Free model and voice: nobody wants to know any more."""
        if self._task:
            self._task.cancel()
        self._silence()

    def go_on(self, rest: Iterable[Rest], finished: Finished | None, waterfall: Waterfall) -> None:
        """What was taken of it, clauses and perhaps its end, is to be given again, before what is still to come."""
        self.waterfall, self.goes_on = waterfall, True
        left = [self.pieces.get_nowait() for _ in range(self.pieces.qsize())]
        self._silence()
        self._speech, self._playout = [], Playout()
        for one in rest:
            self.pieces.put_nowait(self._clause(one))
        if finished:
            self.pieces.put_nowait(replace(finished, usage=Usage()))  # which has been counted
        for piece in left:
            self.pieces.put_nowait(self._clause(piece.again) if isinstance(piece, Clause) else piece)

    def spent(self, now: float) -> Spent:
        """What it has cost up to `now` (monotonic seconds)."""
        return Spent(
            (self._ended or now) - self._began,
            sum(speech.seconds for speech in self._speech),
            self._usage.output_tokens if self._usage else round(self._characters / _CHARACTERS_PER_TOKEN),
            self._usage,
        )

    async def _run(self, request: ChatRequest, config: ResponseConfig) -> None:
        """Read the model's answer into pieces to be uttered; its failure comes after what it wrote before."""
        aloud = config.modality == "audio"
        # Text that the application asked for beside the conversation is its own, and may be markup.
        for_caller, cutter = OutputFilter(markup=aloud or config.in_conversation), ClauseCutter()
        put = self.pieces.put_nowait

        def say(clauses: list[str]) -> None:
            if clauses:
                self.waterfall.mark("llm_first_clause", time.monotonic())
            self._say(clauses)

        def write(text: str) -> None:
            if aloud:
                say(cutter.push(text))
            elif text:
                put(TextDelta(text))

        def write_rest() -> None:
            write(for_caller.flush())
            say(cutter.flush())

        try:
            async with aclosing(self._llm.stream(request, self.wanted)) as events:
                async for event in events:
                    if isinstance(event, Shortened):
                        put(event)
                        continue
                    if isinstance(event, TakenOver):
                        write(for_caller.restart())
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
                    if isinstance(event, Finished):
                        self._usage = event.usage
                    write_rest()
                    put(event)
        except LlmError as error:
            self.failed = True
            write_rest()
            put(error)
        self._ended = time.monotonic()

    def _say(self, clauses: Iterable[str]) -> None:
        for clause in clauses:
            self.pieces.put_nowait(self._clause(Rest(clause, clause, Rendition(), 0.0)))

    def _clause(self, rest: Rest) -> Clause:
        """With its audio, which follows that of the clause before."""
        speech = partial(
            self._tts.synthesize,
            rest.voiced,
            self._config.voice,
            self._config.speed,
            skip_samples=round(rest.skipped * self._tts.sample_rate),
            rendition=rest.rendition,
        )
        before = self._speech[-1] if self._speech else None
        audio = SpeechAhead(self._tasks, speech, self._tts.sample_rate, self._playout, before)
        self._speech.append(audio)
        return Clause(rest.text, audio, rest.voiced, rest.rendition, rest.skipped)

    def _silence(self) -> None:
        for speech in self._speech:
            speech.stop()

    def _take_back(self) -> None:
        """What was written so far and is not uttered yet is not to be."""
        pieces = [self.pieces.get_nowait() for _ in range(self.pieces.qsize())]
        for piece in pieces:
            match piece:
                case Clause(audio=audio):
                    audio.stop()
                    self._speech.remove(audio)
                case TextDelta():
                    pass
                case _:
                    self.pieces.put_nowait(piece)


async def _played(pcm: bytes, *, needed_at: float) -> AsyncGenerator[bytes, None]:  # it is there
    for start in range(0, len(pcm), _CHUNK_BYTES):
        yield pcm[start : start + _CHUNK_BYTES]
