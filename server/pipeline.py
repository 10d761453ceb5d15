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

from server.access.call_time import CallTime, EndReason, Expiring, Over, SayGoodbye
from server.access.rate_limit import TokenBucket
from server.access.ticket_errors import TicketRefused
from server.access.tickets import Ticket
from server.answer import Answer
from server.conversation.commands import (
    Generate,
    Glimpse,
    ItemsLeftOut,
    JudgeTurn,
    PlayoutRanDry,
    SaidInstead,
    Say,
    Speculate,
    StopGenerating,
    StopTranscribing,
    Transcribe,
    TurnEnded,
    VoiceJudged,
    WentOn,
)
from server.conversation.config import ResponseConfig
from server.conversation.conversation import Conversation
from server.conversation.events import ResponseDone, Transcribed
from server.conversation.resuming import Played
from server.dialects.dialect import (
    Abilities,
    AudioReceived,
    Dialect,
    DialectOutput,
    FieldsIgnored,
    Reply,
    TicketShown,
    TicketWanted,
    Told,
)
from server.errors import VoicefleetError
from server.hearing import Hearing
from server.held_answer import HeldAnswer
from server.llm.interface import ChatRequest
from server.llm_processor import LlmProcessor
from server.observability import metrics
from server.observability.waterfall import Waterfall
from server.outbox import Outbox, SlowClient
from server.resumption import Resumption
from server.settings.settings import Settings
from server.smart_turn_processor import SmartTurnProcessor
from server.stt_processor import SttProcessor
from server.thinking import Thinking
from server.tts_processor import TtsProcessor
from server.vad_processor import VadProcessor
from server.wire_message import WireMessage

log = structlog.get_logger(__name__)

_TICK_SECONDS = 0.25
# Of the event loop's time, before the other calls have their turn; and what a call may use of it before it has to wait.
_TURN_SECONDS = 0.002
_LOOP_BURST_SECONDS = 2.0
# What it takes to put a request into a provider's words, which the task of the answer does later.
_SECONDS_PER_BYTE = 20e-9


class CallOver(VoicefleetError):
    """The call has reached a limit, and the caller has heard a goodbye where there was time for one."""

    def __init__(self, reason: EndReason) -> None:
        super().__init__(f"the call has ended: {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Parts:
    """What all calls share."""

    vad: VadProcessor
    smart_turn: SmartTurnProcessor
    stt: SttProcessor
    llm: LlmProcessor
    tts: TtsProcessor

    def abilities(self, settings: Settings) -> Abilities:
        """What a dialect has to know of them."""
        return Abilities(
            calls_functions=settings.llm != ("local",),  # a model of that size fills them with nonsense
            takes_images=settings.llm_images,
            languages=self.stt.languages,
        )


class Session:
    """One call. `send` takes a message for the client and waits while the client's socket is full."""

    def __init__(
        self,
        parts: Parts,
        settings: Settings,
        conversation: Conversation,
        dialect: Dialect,
        send: Callable[[WireMessage], Awaitable[None]],
        call_time: CallTime,
        resumption: Resumption,
    ) -> None:
        self._parts = parts
        self._settings = settings
        self._conversation = conversation
        self._dialect = dialect
        self._send = send
        self._call_time = call_time
        self._resumption = resumption
        self._outbox = Outbox()
        self._loop_share = TokenBucket(settings.max_loop_share, _LOOP_BURST_SECONDS)
        self._worked = 0.0  # since others had their turn
        self._limits_met: set[str] = set()
        stt = parts.stt.session(settings.max_waiting_audio_seconds)
        self._hearing = Hearing(conversation, parts.vad.stream(), stt, parts.smart_turn, self._perform)
        self._tts = parts.tts.session()
        self._ahead = HeldAnswer()
        self._answers: dict[str, asyncio.Task[None]] = {}  # by the response's id
        self._given: tuple[str, Answer] | None = None  # the conversation's last one, by the response's id
        self._line = asyncio.Lock()  # of the answers that are spoken, one is heard at a time
        self._waterfall: Waterfall | None = None

    async def run(self, messages: AsyncIterator[str | bytes], ticket: Ticket | None = None) -> None:
        """Serve the call, or go on with the one that `ticket` is of, until `messages` ends.

        Raises an exception group, perhaps of `SlowClient` or `CallOver`.
        """
        try:
            async with asyncio.TaskGroup() as self._tasks:
                tickets = self._resumption.keep(self._dialect, self._conversation, self._tell)
                works = (self._write(), self._hearing.take_turns(), self._keep_time(), tickets)
                ending = [self._tasks.create_task(work) for work in works]
                if ticket:
                    await self._show(ticket)
                self._perform(self._dialect.greet(time.monotonic()))
                async for message in messages:
                    await self._act(message)
                self._ahead.close()
                self._let_go()
                self._hearing.close()
                for task in (*ending, *self._answers.values()):
                    task.cancel()
        finally:
            # A task group that is cancelled leaves exceptions in a ring with the frames that they went through, which
            # the collector frees some day. What the call held must not wait for that.
            for holder in (self._conversation, self._dialect, self._hearing, self):
                vars(holder).clear()

    async def _act(self, message: str | bytes) -> None:
        """Do what the client says, and make room for the others and for what it is answered before it says more."""
        started = time.monotonic()
        outputs = self._dialect.receive(message, started)
        self._perform(output for output in outputs if not isinstance(output, AudioReceived | TicketShown))
        now = time.monotonic()
        if not all(isinstance(output, AudioReceived) for output in outputs):
            self._call_time.active(now)
        self._worked += now - started
        wait = self._loop_share.spend(now - started, now)
        for output in outputs:
            if isinstance(output, AudioReceived):
                await self._hearing.hear(output.audio, self._dialect.input_format)
            elif isinstance(output, TicketShown):
                await self._show(output.ticket, output.played)
        if wait:
            self._note_limit("max_loop_share")
            await asyncio.sleep(wait)
        elif self._worked > _TURN_SECONDS:
            self._worked = 0.0
            await asyncio.sleep(0)
        await self._outbox.half_empty()

    async def _show(self, ticket: Ticket | str, played: Played | None = None) -> None:
        try:
            opened = ticket if isinstance(ticket, Ticket) else self._resumption.open(ticket)
            await self._go_on_from(opened, played)
        except TicketRefused as error:
            metrics.tickets_refused.labels(error.reason).inc()
            self._tell(self._dialect.refuse(error))

    async def _go_on_from(self, ticket: Ticket, played: Played | None) -> None:
        """Raises `TicketRefused`."""
        now = time.monotonic()
        self._call_time.has_lasted(ticket.lasted, now)
        try:
            outputs = self._dialect.resume(bytes(ticket.state), played, now)
        except TicketRefused:  # then it is a new call
            self._call_time.has_lasted(0.0, now)
            raise
        self._resumption.take_over(ticket)
        for output in outputs:  # a long conversation has more items than the client can be sent at once
            self._perform([output])
            await self._outbox.half_empty()

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            now = time.monotonic()
            self._perform(self._conversation.tick(now))
            self._keep_to_time(now)

    def _keep_to_time(self, now: float) -> None:
        if self._resumption.superseded:
            raise CallOver("resumed")
        if self._conversation.engaged(now):
            self._call_time.active(now)
        match self._call_time.due(now, self._conversation.at_rest(now)):
            case Expiring() as warning:
                self._tell(warning)
            case SayGoodbye():
                self._perform(self._conversation.say_goodbye())
            case Over(reason):
                raise CallOver(reason)

    # --- what the conversation says

    def _perform(self, outputs: Iterable[DialectOutput]) -> None:
        for output in outputs:
            match output:
                case Transcribe() | Glimpse() | JudgeTurn():
                    self._hearing.ask(output, self._tasks)
                case StopTranscribing():
                    self._hearing.stop(output.item_id)
                    self._ahead.resumed(output.item_id)
                case WentOn():
                    self._ahead.resumed(output.item_id)
                case Generate() | Say():
                    self._answer(output)
                case Speculate():
                    self._ahead.hold(output, self._begin(output.request, output.config, output.text_bytes))
                case StopGenerating():
                    self._stop_answering(output)
                case PlayoutRanDry() | ItemsLeftOut() | SaidInstead() | FieldsIgnored():
                    _note(output)
                case TicketWanted():
                    self._resumption.note(output)
                case AudioReceived() | TicketShown():
                    raise AssertionError("what takes time is not performed")
                case _:
                    self._tell(output)

    def _tell(self, output: Told) -> None:
        match output:
            case TurnEnded():
                now = time.monotonic()
                self._waterfall = Waterfall(now - output.silence)
                self._waterfall.mark("endpointing", now)
                _note_turn_end(output)
            case VoiceJudged():
                _note(output)
            case Transcribed(transcript=transcript) if self._waterfall:
                self._waterfall.mark("stt", time.monotonic())
                if not transcript:
                    self._waterfall = None  # it was no turn
            case ResponseDone(response=response):
                metrics.turns.labels(response.status).inc()
                if response.reason == "turn_detected":
                    metrics.interruptions.inc()
                log.info("answer_ended", turn_id=response.id, status=response.status, reason=response.reason)
            case Reply(message={"type": "error", "error": {"code": code}}, limit=limit):
                metrics.client_errors.labels(code).inc()
                if limit:
                    self._note_limit(limit)
        self._resumption.note(output)
        for message in self._dialect.encode(output):
            try:
                self._outbox.put(message)
            except SlowClient:
                metrics.queue_refused.labels("outgoing").inc()
                raise

    def _note_limit(self, limit: str) -> None:
        """Counted each time, and logged once: a call that meets one may do so thousands of times."""
        metrics.limits_met.labels(limit).inc()
        if limit not in self._limits_met:
            self._limits_met.add(limit)
            log.warning("limit_met", limit=limit)

    async def _write(self) -> None:
        while True:
            await self._send(await self._outbox.get())

    def _begin(self, request: ChatRequest, config: ResponseConfig, text_bytes: int) -> Thinking:
        """Ask the model; `text_bytes` is the request's size."""
        now = time.monotonic()
        self._loop_share.spend(text_bytes * _SECONDS_PER_BYTE, now)
        return Thinking(self._parts.llm, self._tts, Waterfall(now)).start(self._tasks, request, config)

    def _think(self, command: Generate | Say) -> Thinking:
        """Go on with what was thought on the chance of just this, or begin."""
        config = command.response.config
        if isinstance(command, Say):
            nobody_asked = Thinking(self._parts.llm, self._tts, Waterfall(time.monotonic()))
            return nobody_asked.recite(self._tasks, command.words, config)
        if not config.in_conversation:
            return self._begin(command.request, config, command.text_bytes)
        thinking = self._rest(command) or self._ahead.let_through(command)
        if thinking is None:
            thinking = self._begin(command.request, config, command.text_bytes)
        if waterfall := self._waterfall:
            waterfall.take(thinking.waterfall)
            thinking.waterfall, self._waterfall = waterfall, None
        return thinking

    def _rest(self, command: Generate) -> Thinking | None:
        """What is left of the answer that was broken off, if that is what is wanted; else it is wanted no more."""
        if command.goes_on and self._given and self._given[0] == command.goes_on.response_id:
            return self._given[1].rest(command.goes_on, Waterfall(time.monotonic()))
        self._let_go()
        return None

    def _let_go(self) -> None:
        if self._given:
            self._given[1].let_go()
            self._given = None

    def _answer(self, command: Generate | Say) -> None:
        response = command.response
        with structlog.contextvars.bound_contextvars(turn_id=response.id):
            thinking = self._think(command)
            thinking.wanted.set()
            answer = Answer(thinking, self._tts.sample_rate, self._conversation, self._perform, self._line)
            output = response.config.output_format or self._dialect.output_format
            giving = answer.give(response, output, self._settings.send_ahead_seconds)
            task = self._answers[response.id] = self._tasks.create_task(giving)
        task.add_done_callback(lambda _: self._answered(response.id, answer))  # also of one that has not even begun
        if isinstance(command, Generate) and response.config.in_conversation:
            self._given = response.id, answer

    def _answered(self, response_id: str, answer: Answer) -> None:
        self._answers.pop(response_id, None)
        if not answer.may_go_on:
            answer.let_go()

    def _stop_answering(self, command: StopGenerating) -> None:
        if self._given and self._given[0] == command.response_id:
            self._given[1].may_go_on = command.may_go_on
            if not command.may_go_on:
                self._let_go()
        if answering := self._answers.pop(command.response_id, None):
            answering.cancel()


def _note_turn_end(ended: TurnEnded) -> None:
    """Enough to see, without a word of it, why it ended just then, and what a silence of another length would do."""
    metrics.turn_ends.labels(ended.reason).inc()
    log.info(
        "turn_ended",
        reason=ended.reason,
        silence=round(ended.silence, 3),
        longest_pause=round(ended.longest_pause, 3),
        sounds_finished=None if ended.sounds_finished is None else round(ended.sounds_finished, 3),
        fall_db=None if ended.fall is None else round(ended.fall, 1),
    )


def _note(output: PlayoutRanDry | ItemsLeftOut | VoiceJudged | SaidInstead | FieldsIgnored) -> None:
    """What only an operator is to know."""
    match output:
        case PlayoutRanDry():
            metrics.audio_underruns.inc()
        case ItemsLeftOut(count):
            metrics.context_items_left_out.inc(count)
            log.info("conversation_shortened", count=count)
        case VoiceJudged(judgement, voiced):
            metrics.voices_judged.labels(judgement).inc()
            log.info("voice_judged", judgement=judgement, seconds=round(voiced, 2))
        case SaidInstead(kind):
            metrics.spoken_lines.labels(kind).inc()
            log.info("said_instead", kind=kind)
        case FieldsIgnored(names):
            log.info("fields_ignored", names=names)
