"""A spoken conversation as a state machine: who speaks, what was said, what is to be answered.

Pure: events and a clock in, events for the client and commands for the pipeline out. It opens no socket, awaits nothing
and computes nothing heavy. `now` is monotonic seconds. A method that raises has changed nothing.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from server.conversation import commands as c
from server.conversation import events as e
from server.conversation.answers import UnderWay
from server.conversation.asked import GOODBYE, GREETING, Asked, spoken_aside
from server.conversation.candidates import Candidates
from server.conversation.config import ResponseConfig, SessionConfig, Speculation
from server.conversation.errors import DuplicateItem, NoActiveResponse, ResponseActive
from server.conversation.history import History, Item, Message, snapshot, text_bytes
from server.conversation.outputs import Output
from server.conversation.playback import Playback
from server.conversation.recognition import Recognition
from server.conversation.response import STATUS_OF, Failure, Response
from server.conversation.resuming import Played, put_back, take_snapshot
from server.conversation.snapshot import Snapshot
from server.conversation.turn_taking import TurnTaking
from server.conversation.utterances import Utterances
from server.limits import Limits
from server.llm.interface import Finished, Usage
from server.spoken_lines import LineKind, SpokenLines

# So much longer than the silence that ends a turn a caller's audio has to be away, before that counts as silence: a
# network that stalls for a moment ends no turn.
_AUDIO_GONE_SECONDS = 1.0
_CONTEXT_TOKENS = 28_000  # of a hosted realtime model with a context of 32k, less what it may answer


class Conversation:
    """One caller's conversation. `new_id` makes a unique id from a prefix ("item", "resp").

    `context_tokens` is how much the language model can read: instructions, tools and conversation. `limits` hold for
    what the client puts in; what is said on the call is always taken. `speculation` is the most that begins before a
    turn is surely over: nothing (off), words (stt), or the answer too (full); a session may be set to less. `lines` are
    said where no answer can be given.
    """

    def __init__(
        self,
        config: SessionConfig,
        new_id: Callable[[str], str],
        context_tokens: int = _CONTEXT_TOKENS,
        limits: Limits | None = None,
        speculation: Speculation = "stt",
        lines: SpokenLines | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.history = History()
        self.playback = Playback()
        self._speculation = speculation
        self._recognition = Recognition(self.history)
        self._utterances = Utterances(
            config.turn_detection,
            self.history,
            self._recognition,
            new_id,
            self._listens_ahead(config),
        )
        self._candidates = Candidates(self._utterances, self._recognition, self.playback)
        self._turns = TurnTaking(
            config,
            self.history,
            self.playback,
            self._recognition,
            self._utterances,
            new_id,
            context_tokens,
            speculates=speculation == "full",
            lines=lines or SpokenLines(),
        )
        self._answers = self._turns.answers
        self._audio_ends = 0.0  # on the caller's audio clock
        self._audio_came = 0.0  # by our own clock

    @property
    def config(self) -> SessionConfig:
        """The session's settings."""
        return self._turns.config

    @property
    def usage(self) -> Usage:
        """That of all answers that have ended."""
        return self._answers.usage

    @property
    def active_response(self) -> Response | None:
        """The conversation's answer that is being given."""
        return self._answers.main.response if self._answers.main else None

    def at_rest(self, now: float) -> bool:
        """Whether nobody speaks, nothing is being answered and all that was said has been played."""
        heard = self._recognition.all_heard and not self._utterances.speaking
        return heard and not self._answers.for_caller and self.playback.ends_at <= now

    def engaged(self, now: float) -> bool:
        """Whether the caller speaks or is being answered. What is said of our own accord is no answer."""
        return self._utterances.speaking or not (self._turns.unasked or self.at_rest(now))

    def configure(self, config: SessionConfig) -> list[Output]:
        """Take new settings; a response under way keeps the ones that it began with."""
        self._turns.config = config
        self._utterances.configure(
            config.turn_detection, config.language, self._listens_ahead(config), config.transcribes
        )
        return list(self._turns.go_on())

    def _listens_ahead(self, config: SessionConfig) -> bool:
        """Whether words are asked for before a turn is over."""
        return "off" not in (self._speculation, config.speculation)

    def snapshot(self, now: float) -> Snapshot:
        """What another node has to know to go on with it."""
        turns = self._turns
        return take_snapshot(self.history, turns.context, self.playback, self.usage, turns.answering, now)

    def restore(self, saved: Snapshot, played: Played | None, now: float) -> list[Output]:
        """Go on with a conversation that was cut off, where nothing has been said yet; `played` is the client's word.

        Its items are told again, and the answer that is owed is given, or the rest of it that was not heard.
        """
        missed = put_back(saved, self.history, self.playback, self._turns.spoken, played, now)
        self._answers.usage = saved.usage
        outputs: list[Output] = []
        for item in self.history:
            previous = self.history.previous_id(item.id)
            outputs += [e.ItemAdded(snapshot(item), previous), e.ItemDone(snapshot(item), previous)]
        return [*outputs, *self._turns.resume(saved.answering, missed, now)]

    # --- the caller's voice

    def append_audio(self, pcm: bytes) -> None:
        """The caller's next audio: 16-bit little-endian mono PCM at 16 kHz."""
        self._utterances.append_audio(pcm)

    def voice_activity(self, start: float, end: float, probability: float, now: float) -> list[Output]:
        """The probability that the caller speaks between `start` and `end`, in seconds of their audio."""
        self._audio_ends, self._audio_came = end, now
        heard = self._candidates.voice_activity(start, end, probability, self._turns.floor(now))
        return [*self._follow(heard, now), *self._turns.speculate()]

    def tick(self, now: float) -> list[Output]:
        """Time has passed, with audio or without: what is due by the clock is done. To be called a few times a second.

        A microphone that is muted in the middle of a word sends nothing more, not even silence.
        """
        turns, away, floor = self.config.turn_detection, now - self._audio_came, self._turns.floor(now)
        if turns and self._utterances.open and away >= turns.silence + _AUDIO_GONE_SECONDS:
            heard = self._candidates.audio_stopped(self._audio_ends, away, floor)
        else:
            heard = self._candidates.weigh(floor)
        return self._follow(heard, now)

    def commit_audio(self) -> list[Output]:
        """End the caller's turn by hand; no answer is given unless the client asks.

        Raises `BufferTooShort` or `LimitExceeded`.
        """
        self.history.check_items(self.limits)
        return list(self._utterances.commit())

    def clear_audio(self) -> list[Output]:
        """Forget the caller's uncommitted audio."""
        return [*self._utterances.clear(), *self._turns.go_on()]

    def transcribed(self, attempt: int, answer: e.Transcribed | e.TranscriptionFailed, now: float) -> list[Output]:
        """The answer to a `Transcribe` command, with its `attempt`."""
        heard = self._candidates.answered(attempt, answer, self._turns.floor(now))
        return [*self._turns.follow(heard, now), *self._turns.speculate()]

    def glimpsed(self, item_id: str, attempt: int, words: str, sure: bool) -> list[Output]:
        """The answer to a `Glimpse` command: words that the caller has said by then."""
        return [*self._utterances.glimpsed(item_id, attempt, words, sure), *self._turns.speculate()]

    def turn_judged(self, item_id: str, attempt: int, sounds_finished: float) -> list[Output]:
        """The answer to a `JudgeTurn` command: the probability, 0 to 1, that the turn is over by its sound."""
        self._utterances.judged(item_id, attempt, sounds_finished)
        return list(self._turns.speculate())

    def _follow(self, heard: Iterable[Output], now: float) -> list[Output]:
        """What is heard of the caller, and what follows from it, or from hearing nothing."""
        return list(self._turns.follow(heard, now)) or list(self._turns.follow_silence(now, self._audio_ends))

    # --- the caller's other ways

    def interrupt(self, now: float) -> list[Output]:
        """The caller takes the floor without a word, by a key of their telephone: what may be stopped falls silent."""
        return list(self._turns.stop(now))

    def typed(self, text: str, now: float) -> list[Output]:
        """A turn of the caller's in text, such as the keys that they pressed; it is answered as if it were spoken."""
        return list(self._turns.typed(text, now))

    # --- items

    def add_item(self, item: Item, after: str | None = None, audio: bytes = b"") -> list[Output]:
        """Insert an item that the client made. `audio` (16 kHz PCM) holds the words of its one part without text.

        Raises `ItemNotFound`, `DuplicateItem` or `LimitExceeded`.
        """
        self.history.check_items(self.limits)
        self.history.check_bytes(self.limits, text_bytes(item))
        if item.id == self._utterances.announced_id or self._answers.owns(item.id):
            raise DuplicateItem(item.id)
        previous = self.history.insert(item, after)
        outputs: list[Output] = [e.ItemAdded(snapshot(item), previous), e.ItemDone(snapshot(item), previous)]
        if audio and isinstance(item, Message):
            part = next(part for part in item.parts if part.text is None)
            outputs.append(self._recognition.ask_item(item.id, part, audio))
        return outputs

    def retrieve_item(self, item_id: str) -> list[Output]:
        """Tell the client an item as it stands. Raises `ItemNotFound`."""
        return [e.ItemRetrieved(snapshot(self.history.get(item_id)))]

    def delete_item(self, item_id: str) -> list[Output]:
        """Take an item out of the conversation. Raises `ItemNotFound`."""
        self.history.delete(item_id)
        stopped = list(self._recognition.forget(item_id))
        messages = [answer.writer.message for answer in self._answers]
        if not any(message and message.id == item_id for message in messages):  # what is being spoken is still played
            self.playback.forget(item_id)
        return [e.ItemDeleted(item_id), *stopped, *self._turns.go_on()]

    def truncate_item(self, item_id: str, content_index: int, audio_end_ms: int, now: float) -> list[Output]:
        """Cut what the assistant said to its first `audio_end_ms` of audio: the caller heard no more.

        A time past the end of the audio cuts nothing. Raises `ItemNotFound` or `NotTruncatable`.
        """
        self._turns.spoken.truncate(item_id, content_index, audio_end_ms / 1000, now)
        return [e.ItemTruncated(item_id, content_index, audio_end_ms)]

    # --- answers, as the client asks for them

    def respond(self, config: ResponseConfig, input_items: list[Item] | None = None, *, now: float) -> list[Output]:
        """Answer now. `input_items`, if given, stand in for the conversation.

        Raises `ResponseActive` or `LimitExceeded`.
        """
        filler = self._make_room(config, 0)
        if input_items is not None:
            size = sum(map(text_bytes, input_items))
            self.limits.check("max_request_bytes", size, f"an input of {size:,} bytes of text")
        return self._begin(Asked(config, self.history if input_items is None else input_items), filler, now)

    def say(self, text: str, *, interruptible: bool, now: float) -> list[Output]:
        """Say `text` as it stands, in the session's voice; see `recite`."""
        return self.recite(text, replace(self.config.response, interruptible=interruptible), now=now)

    def recite(self, text: str, config: ResponseConfig, *, now: float) -> list[Output]:
        """Say `text` as it stands, at the end of the caller's turn if they are in one; no model is asked.

        It is an answer like any other: history keeps what is heard of it. Raises `ResponseActive` or `LimitExceeded`.
        """
        filler = self._make_room(config, len(text.encode()))
        config = replace(spoken_aside(config), modality="audio", metadata=config.metadata)
        return self._begin(Asked(config, (), words=text), filler, now)

    def _make_room(self, config: ResponseConfig, more: int) -> UnderWay | None:
        """What only fills the time until an answer with so many bytes of text that are known already.

        Raises `ResponseActive` where another is under way already, or `LimitExceeded`.
        """
        if not config.in_conversation:
            count = len(self._answers.beside) + 1
            self.limits.check("max_responses_beside", count, f"{count} responses beside the conversation at once")
            return None
        under_way = self._answers.main
        if under_way and not under_way.asked.filler:
            raise ResponseActive(under_way.response.id)
        self.history.check_items(self.limits)
        self.history.check_bytes(self.limits, more)
        return under_way

    def _begin(self, asked: Asked, filler: UnderWay | None, now: float) -> list[Output]:
        ended = self._turns.end(filler, now, "cancelled", reason="client_cancelled") if filler else ()
        return [*ended, *self._turns.respond(asked)]

    def greet(self) -> list[Output]:
        """Speak first, in the model's own words, before anything has been said."""
        config = replace(self.config.response, tool_choice="none")
        return list(self._turns.respond(Asked(config, self.history, (GREETING,))))

    def say_goodbye(self) -> list[Output]:
        """Take leave of the caller, of our own accord, while nothing is being answered; silently, where nothing is."""
        if self.config.transcribes:
            return []
        config = replace(self.config.response, tool_choice="none")
        return list(self._turns.respond(Asked(config, self.history, (GOODBYE,), unasked=True)))

    def cancel_response(self, response_id: str | None, now: float) -> list[Output]:
        """Stop the answer of that id; without one, the conversation's. Raises `NoActiveResponse`."""
        answer = self._answers.main if response_id is None else self._answers.get(response_id)
        if answer is None:
            raise NoActiveResponse(response_id)
        return [*self._turns.end(answer, now, "cancelled", reason="client_cancelled"), *self._turns.go_on()]

    def clear_playback(self, now: float) -> list[Output]:
        """The client drops the audio that it has not played; answers that the caller hears end."""
        outputs: list[Output] = []
        for answer in self._answers.for_caller:
            outputs += self._turns.end(answer, now, "cancelled", reason="client_cancelled")
            outputs.append(e.PlaybackCleared(answer.response.id))
        self._turns.spoken.silence(now)
        return [*outputs, *self._turns.go_on()]

    # --- an answer, as the pipeline makes it; what comes for one that has ended is dropped

    def begin_clause(self, response_id: str, clause: str) -> list[Output]:
        """The audio that follows speaks `clause`."""
        return list(self._answers.begin_clause(response_id, clause))

    def end_clause(self, response_id: str) -> None:
        """All audio of the clause has been sent."""
        self._answers.end_clause(response_id)

    def unspoken(self, response_id: str, clause: str) -> list[Output]:
        """The voice can't say `clause`; it is part of the answer all the same, as text."""
        return list(self._answers.unspoken(response_id, clause))

    def speak(self, response_id: str, audio: bytes, seconds: float, now: float) -> list[Output]:
        """Audio for the client, in its own format: `seconds` long, spoken after what was sent before."""
        answer = self._answers.get(response_id)
        if answer is None:
            return []
        if self._turns.speaks_over_caller(answer):
            return list(self._turns.end(answer, now, "cancelled", reason="turn_detected"))
        return list(self._answers.speak(answer, audio, seconds, now))

    def write(self, response_id: str, text: str) -> list[Output]:
        """Text for the client to read."""
        return list(self._answers.write(response_id, text))

    def call(self, response_id: str, call_id: str, name: str) -> list[Output]:
        """The model calls a function."""
        return list(self._answers.call(response_id, call_id, name))

    def call_arguments(self, response_id: str, delta: str) -> list[Output]:
        """More of the arguments of the function called last."""
        return list(self._answers.call_arguments(response_id, delta))

    def shortened(self, response_id: str, gone: frozenset[int]) -> list[Output]:
        """The request was too long for the model; it answers one without the messages at `gone`."""
        answer = self._answers.get(response_id)
        if answer is None or answer.requested is None:
            return []
        self._turns.context.refused(answer.requested, gone)
        return [c.ItemsLeftOut(len(gone))]

    def finish(self, response_id: str, finished: Finished, now: float) -> list[Output]:
        """Everything that the model said has been sent."""
        answer = self._answers.get(response_id)
        if answer is None:
            return []
        if answer.requested:
            self._turns.context.counted(answer.requested, finished.usage.input_tokens)
        status, reason = STATUS_OF[finished.reason]
        return [*self._turns.end(answer, now, status, finished.usage, reason), *self._turns.go_on()]

    def line_instead(self, response_id: str, kind: LineKind) -> str:
        """What the caller is told in place of an answer, or of its rest, that can't be given; empty: nothing."""
        answer = self._answers.get(response_id)
        return self._turns.line_instead(answer, kind) if answer else ""

    def break_off(self, response_id: str, kind: LineKind) -> list[Output]:
        """A line is said instead of the rest, as a message of its own."""
        answer = self._answers.get(response_id)
        return [*self._answers.break_off(answer), c.SaidInstead(kind)] if answer else []

    def fail(self, response_id: str, failure: Failure, now: float, usage: Usage | None = None) -> list[Output]:
        """The answer can't be made, or not to its end; `usage` is what it cost, where that is known."""
        answer = self._answers.get(response_id)
        if answer is None:
            return []
        return [*self._turns.end(answer, now, "failed", usage, failure=failure), *self._turns.go_on()]
