"""A spoken conversation as a state machine: who speaks, what was said, what is to be answered.

Pure: events and a clock in, events for the client and commands for the pipeline out. It opens no socket, awaits nothing
and computes nothing heavy. `now` is monotonic seconds. A method that raises has changed nothing.
"""

from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from functools import partial

from server.conversation import events as e
from server.conversation.config import ResponseConfig, SessionConfig
from server.conversation.context import Context
from server.conversation.errors import DuplicateItem, NoActiveResponse, ResponseActive
from server.conversation.history import History, Item, Message, Part, chat_messages
from server.conversation.playback import Playback
from server.conversation.response import EndReason, Failure, Response, ResponseStatus
from server.conversation.spoken import Spoken
from server.conversation.utterances import Utterances, commit_item
from server.conversation.writer import ResponseWriter
from server.llm.interface import ChatMessage, ChatRequest, Finished, SystemText, Usage

# So much longer than the silence that ends a turn a caller's audio has to be away, before that counts as silence: a
# network that stalls for a moment ends no turn.
_AUDIO_GONE_SECONDS = 1.0
_CONTEXT_TOKENS = 28_000  # of a hosted realtime model with a context of 32k, less what it may answer
_STILL_THERE = SystemText("The caller has been silent for a while. Ask briefly whether they are still there.")
_STATUS_OF: dict[str, tuple[ResponseStatus, EndReason | None]] = {
    "stop": ("completed", None),
    "tool_calls": ("completed", None),
    "length": ("incomplete", "max_output_tokens"),
    "content_filter": ("incomplete", "content_filter"),
}


class Conversation:
    """One caller's conversation. `new_id` makes a unique id from a prefix ("item", "resp").

    `context_tokens` is how much the language model can read: instructions, tools and conversation.
    """

    def __init__(
        self, config: SessionConfig, new_id: Callable[[str], str], context_tokens: int = _CONTEXT_TOKENS
    ) -> None:
        self.config = config
        self.history = History()
        self.playback = Playback()
        self._spoken = Spoken(self.history, self.playback)
        self._context = Context(context_tokens)
        self._new_id = new_id
        self._utterances = Utterances(config.turn_detection, self.history, new_id)
        self._unanswered: list[str] = []  # items of committed turns that want an answer
        self._writer: ResponseWriter | None = None
        self._again: Callable[[], Iterator[e.Output]] | None = None  # gives the active response once more
        self._owed: Callable[[], Iterator[e.Output]] | None = None  # gives one again that was interrupted unheard
        self._ask: Callable[[], Iterator[e.Output]] | None = None  # the model is asked once all words are known
        self._idle_since: float | None = None
        self._audio_ends = 0.0  # on the caller's audio clock
        self._audio_came = 0.0  # by our own clock

    @property
    def active_response(self) -> Response | None:
        """The answer that is being given."""
        return self._writer.response if self._writer else None

    def configure(self, config: SessionConfig) -> None:
        """Take new settings; a response under way keeps the ones that it began with."""
        self.config = config
        self._utterances.configure(config.turn_detection)

    # --- the caller's voice

    def append_audio(self, pcm: bytes) -> None:
        """The caller's next audio: 16-bit little-endian mono PCM at 16 kHz."""
        self._utterances.append_audio(pcm)

    def voice_activity(self, start: float, end: float, probability: float, now: float) -> list[e.Output]:
        """The probability that the caller speaks between `start` and `end`, in seconds of their audio."""
        self._audio_ends, self._audio_came = end, now
        outputs = list(self._follow(self._utterances.voice_activity(start, end, probability), now))
        return outputs or list(self._follow_silence(now))

    def tick(self, now: float) -> list[e.Output]:
        """Time has passed, with audio or without: what is due by the clock is done. To be called a few times a second.

        A microphone that is muted in the middle of a word sends nothing more, not even silence.
        """
        turns, away = self.config.turn_detection, now - self._audio_came
        if turns and self._utterances.speaking and away >= turns.silence + _AUDIO_GONE_SECONDS:
            return list(self._follow(self._utterances.audio_stopped(self._audio_ends, away), now))
        return list(self._follow_silence(now))

    def commit_audio(self) -> list[e.Output]:
        """End the caller's turn by hand; no answer is given unless the client asks. Raises `BufferTooShort`."""
        return list(self._utterances.commit())

    def clear_audio(self) -> list[e.Output]:
        """Forget the caller's uncommitted audio."""
        return [*self._utterances.clear(), *self._answer_if_due()]

    def transcribed(self, attempt: int, answer: e.Transcribed | e.TranscriptionFailed, now: float) -> list[e.Output]:
        """The answer to a `Transcribe` command, with its `attempt`."""
        return list(self._follow(self._utterances.answered(attempt, answer), now))

    # --- items

    def add_item(self, item: Item, after: str | None = None, audio: bytes = b"") -> list[e.Output]:
        """Insert an item that the client made. `audio` (16 kHz PCM) holds the words of its one part without text.

        Raises `ItemNotFound` or `DuplicateItem`.
        """
        given = self._writer.response.output if self._writer else []
        if item.id == self._utterances.announced_id or any(item.id == own.id for own in given):
            raise DuplicateItem(item.id)
        previous = self.history.insert(item, after)
        outputs: list[e.Output] = [e.ItemAdded(deepcopy(item), previous), e.ItemDone(deepcopy(item), previous)]
        if audio and isinstance(item, Message):
            part = next(part for part in item.parts if part.text is None)
            outputs.append(self._utterances.recognise_item(item.id, part, audio))
        return outputs

    def retrieve_item(self, item_id: str) -> list[e.Output]:
        """Tell the client an item as it stands. Raises `ItemNotFound`."""
        return [e.ItemRetrieved(deepcopy(self.history.get(item_id)))]

    def delete_item(self, item_id: str) -> list[e.Output]:
        """Take an item out of the conversation. Raises `ItemNotFound`."""
        self.history.delete(item_id)
        stopped = list(self._utterances.forget(item_id))
        spoken = self._writer.message if self._writer else None
        if spoken is None or spoken.id != item_id:  # what is being spoken is still played
            self.playback.forget(item_id)
        return [e.ItemDeleted(item_id), *stopped, *self._ask_if_heard(), *self._answer_if_due()]

    def truncate_item(self, item_id: str, content_index: int, audio_end_ms: int, now: float) -> list[e.Output]:
        """Cut what the assistant said to its first `audio_end_ms` of audio: the caller heard no more.

        A time past the end of the audio cuts nothing. Raises `ItemNotFound` or `NotTruncatable`.
        """
        self._spoken.truncate(item_id, content_index, audio_end_ms / 1000, now)
        return [e.ItemTruncated(item_id, content_index, audio_end_ms)]

    # --- answers, as the client asks for them

    def respond(self, config: ResponseConfig, input_items: list[Item] | None = None) -> list[e.Output]:
        """Answer now. `input_items`, if given, stand in for the conversation. Raises `ResponseActive`."""
        if self._writer:
            raise ResponseActive(self._writer.response.id)
        return list(self._respond(config, self.history if input_items is None else input_items))

    def cancel_response(self, response_id: str | None, now: float) -> list[e.Output]:
        """Stop the answer that is being given. Raises `NoActiveResponse`."""
        active = self.active_response
        if active is None or response_id not in (None, active.id):
            raise NoActiveResponse(response_id)
        return [*self._end(now, "cancelled", reason="client_cancelled"), *self._answer_if_due()]

    def clear_playback(self, now: float) -> list[e.Output]:
        """The client drops the audio that it has not played; an answer under way ends."""
        outputs: list[e.Output] = []
        if active := self.active_response:
            outputs += [*self._end(now, "cancelled", reason="client_cancelled"), e.PlaybackCleared(active.id)]
        self._spoken.silence(now)
        return [*outputs, *self._answer_if_due()]

    # --- the answer, as the pipeline makes it; what comes for a response that has ended is dropped

    def say(self, response_id: str, clause: str) -> list[e.Output]:
        """The audio that follows speaks `clause`."""
        writer = self._writing(response_id)
        if writer is None:
            return []
        outputs: list[e.Output] = list(writer.write(clause))
        self.playback.clause(writer.place.item_id, clause)
        return outputs

    def unspoken(self, response_id: str, clause: str) -> list[e.Output]:
        """The voice can't say `clause`; it is part of the answer all the same, as text."""
        writer = self._writing(response_id)
        if writer is None:
            return []
        outputs = self.say(response_id, clause)
        self.playback.finish(writer.place.item_id)
        return outputs

    def speak(self, response_id: str, audio: bytes, seconds: float, now: float) -> list[e.Output]:
        """Audio for the client, in its own format: `seconds` long, spoken after what was sent before."""
        writer = self._writing(response_id)
        if writer is None:
            return []
        ran_dry = self.playback.audio(writer.place.item_id, seconds, now)
        return [e.AudioDelta(writer.place, audio), *([e.PlayoutRanDry()] if ran_dry else [])]

    def write(self, response_id: str, text: str) -> list[e.Output]:
        """Text for the client to read."""
        writer = self._writing(response_id)
        return list(writer.write(text)) if writer else []

    def call(self, response_id: str, call_id: str, name: str) -> list[e.Output]:
        """The model calls a function."""
        writer = self._writing(response_id)
        if writer is None:
            return []
        if writer.message:
            self._spoken.end(writer.message, broken_off=False)
        return list(writer.call(call_id, name))

    def call_arguments(self, response_id: str, delta: str) -> list[e.Output]:
        """More of the arguments of the function called last."""
        writer = self._writing(response_id)
        return list(writer.arguments(delta)) if writer else []

    def shortened(self, response_id: str, gone: frozenset[int]) -> list[e.Output]:
        """The request was too long for the model; it answers one without the messages at `gone`."""
        if self._writing(response_id) is None:
            return []
        self._context.refused(gone)
        return [e.ItemsLeftOut(len(gone))]

    def finish(self, response_id: str, finished: Finished, now: float) -> list[e.Output]:
        """Everything that the model said has been sent."""
        if self._writing(response_id) is None:
            return []
        self._context.counted(finished.usage.input_tokens)
        status, reason = _STATUS_OF[finished.reason]
        return [*self._end(now, status, finished.usage, reason), *self._answer_if_due()]

    def fail(self, response_id: str, failure: Failure, now: float, usage: Usage | None = None) -> list[e.Output]:
        """The answer can't be made, or not to its end; `usage` is what it cost, where that is known."""
        if self._writing(response_id) is None:
            return []
        return [*self._end(now, "failed", usage, failure=failure), *self._answer_if_due()]

    # --- turn-taking

    def _follow(self, outputs: Iterable[e.Output], now: float) -> Iterator[e.Output]:
        """What the caller does, and what follows from it."""
        turns = self.config.turn_detection
        for output in outputs:
            yield output
            match output:
                case e.SpeechStarted() if turns and turns.interrupt_response:
                    yield from self._interrupt(now, turns.create_response)
                case e.SpeechStopped() if self._idle_since is not None:
                    self._idle_since = now
                case e.AudioCommitted(item_id) if turns and turns.create_response:
                    self._unanswered.append(item_id)
                case e.Transcribed() | e.TranscriptionFailed():
                    if isinstance(output, e.Transcribed) and output.transcript:
                        self._idle_since = None
                    yield from self._ask_if_heard()
                    yield from self._answer_if_due()

    def _interrupt(self, now: float, answer_again: bool) -> Iterator[e.Output]:
        """What is spoken falls silent. Text that is written outside the conversation is not the caller's to stop."""
        response = self.active_response
        if response and (response.config.in_conversation or response.config.modality == "audio"):
            if answer_again and not self._spoken.had_effect(response, now):
                # The caller only went on speaking, or it is noise: what was asked before still wants its answer.
                self._owed = self._again
            yield from self._end(now, "cancelled", reason="turn_detected")
        self._spoken.silence(now)

    def _answer_if_due(self) -> Iterator[e.Output]:
        if self._writer or self._utterances.speaking or not self._utterances.all_heard:
            return
        turns, self._unanswered = self._unanswered, []
        owed, self._owed = self._owed, None
        # Noise that was taken for speech has no words, and wants no answer.
        if any(item_id in self.history and chat_messages([self.history.get(item_id)]) for item_id in turns):
            yield from self._respond(self.config.response, self.history)
        elif owed:
            yield from owed()

    def _follow_silence(self, now: float) -> Iterator[e.Output]:
        """Nobody speaks; after the idle timeout the assistant does."""
        turns = self.config.turn_detection
        if not turns or turns.idle_timeout is None or self._idle_since is None:
            return
        if self._writer or self._utterances.speaking or not self._utterances.all_heard:
            return
        if now - max(self._idle_since, self.playback.ends_at) < turns.idle_timeout:
            return
        item = Message(self._new_id("item"), "user", [Part("input_audio", "")])
        start = max(0.0, self._audio_ends - turns.idle_timeout)  # there may have been no audio
        yield e.IdleTimedOut(item.id, round(start * 1000), round((start + turns.idle_timeout) * 1000))
        yield from commit_item(self.history, item)
        yield from self._respond(self.config.response, self.history, _STILL_THERE)

    # --- answers

    def _respond(self, config: ResponseConfig, items: Iterable[Item], *asides: ChatMessage) -> Iterator[e.Output]:
        history = self.history if config.in_conversation else None
        self._writer = ResponseWriter(Response(self._new_id("resp"), config), history, self._new_id)
        self._again = partial(self._respond, config, items, *asides)
        self._ask = partial(self._generate, config, items, *asides)
        self._idle_since = None
        yield from self._writer.start()
        yield from self._ask_if_heard()

    def _generate(self, config: ResponseConfig, items: Iterable[Item], *asides: ChatMessage) -> Iterator[e.Output]:
        """Ask the model: for an answer to the conversation as far as it can read it, or to all of other `items`."""
        assert self._writer is not None, "the model is asked for the answer under way"
        if config.in_conversation and items is self.history:
            self._unanswered, self._owed = [], None  # whoever asked, everything said so far is answered
        truncation = self.config.truncation
        if items is self.history:
            messages, left_out = self._context.shown(items, config.instructions, config.tools, truncation)
            if left_out:
                yield e.ItemsLeftOut(left_out)
        else:
            messages = chat_messages(items)
            self._context.other_request()
        request = ChatRequest(
            instructions=config.instructions,
            messages=[*messages, *asides],
            tools=config.tools,
            tool_choice=config.tool_choice,
            max_output_tokens=config.max_output_tokens,
            temperature=config.temperature,
            parallel_tool_calls=config.parallel_tool_calls,
            reasoning_effort=config.reasoning_effort,
            may_be_shortened=truncation is not None,
        )
        yield e.Generate(self._writer.response, request)

    def _ask_if_heard(self) -> Iterator[e.Output]:
        """The model is asked once the words of everything that was said are known."""
        if self._writer and self._ask and self._utterances.all_heard:
            ask, self._ask = self._ask, None
            yield from ask()

    def _end(
        self,
        now: float,
        status: ResponseStatus,
        usage: Usage | None = None,
        reason: EndReason | None = None,
        failure: Failure | None = None,
    ) -> Iterator[e.Output]:
        writer = self._writer
        assert writer is not None, "only an answer under way ends"
        message = writer.message
        if status in ("cancelled", "failed"):
            yield e.StopGenerating(writer.response.id)
        yield from writer.finish(status, usage or Usage(), reason, failure)
        if message:
            self._spoken.end(message, broken_off=status in ("cancelled", "failed"))
        self._spoken.forget(writer.response.output)
        self._writer = None
        self._ask = None
        self._idle_since = now

    def _writing(self, response_id: str) -> ResponseWriter | None:
        return self._writer if self._writer and self._writer.response.id == response_id else None
