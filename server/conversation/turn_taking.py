"""Whose turn it is: what the caller's speech, and their silence, mean for the answers that they are given.

Pure. It begins and ends answers and has the language model asked; what an answer consists of comes from the pipeline.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from server.conversation import commands as c
from server.conversation import events as e
from server.conversation.answers import Answers, UnderWay
from server.conversation.asked import STILL_THERE, Asked, spoken_aside
from server.conversation.candidates import Floor
from server.conversation.config import ResponseConfig, SessionConfig
from server.conversation.context import Context, Requested
from server.conversation.endpointing import TurnDetection
from server.conversation.history import History, Item, Message, Part, chat_messages, snapshot, text_bytes
from server.conversation.outputs import Output
from server.conversation.playback import Playback
from server.conversation.recognition import Recognition
from server.conversation.response import EndReason, Failure, Response, ResponseStatus
from server.conversation.resuming import open_calls
from server.conversation.silence import Silence
from server.conversation.snapshot import Answering
from server.conversation.speculation import SpeculationGate
from server.conversation.spoken import Spoken
from server.conversation.utterance import commit_item
from server.conversation.utterances import Utterances
from server.llm.interface import Usage
from server.spoken_lines import LineKind, SpokenLines


class TurnTaking:
    """Who speaks and who is answered, on one call. `now` is monotonic seconds; the rest is as in `Conversation`."""

    def __init__(
        self,
        config: SessionConfig,
        history: History,
        playback: Playback,
        recognition: Recognition,
        utterances: Utterances,
        new_id: Callable[[str], str],
        context_tokens: int,
        speculates: bool,
        lines: SpokenLines,
    ) -> None:
        self.config = config
        self._history = history
        self._playback = playback
        self._recognition = recognition
        self._utterances = utterances
        self._new_id = new_id
        self.spoken = Spoken(history, playback)
        self.answers = Answers(history, playback, self.spoken, new_id)
        self.context = Context(context_tokens)
        self._silence = Silence(history)
        self._unanswered: list[str] = []  # items of committed turns that want an answer
        self._owed: Asked | None = None  # by a response that was interrupted, unless the caller said something
        self._speculates = speculates
        self._gate = SpeculationGate()
        self._lines = lines
        self._not_heard = False  # what the caller said in a turn that wants an answer
        self.unasked = False
        """Whether the last answer came of our own accord."""

    def floor(self, now: float) -> Floor:
        """What the caller's voice is heard into."""
        turns = self.config.turn_detection or TurnDetection(interrupt_response=False)
        heard = self._playback.ends_at > now or any(map(self.answers.is_speaking, self.answers))
        return Floor(now, heard and turns.interrupt_response, self._yields(now), turns, self.config.language)

    # --- what the caller does

    def follow(self, outputs: Iterable[Output], now: float) -> Iterator[Output]:
        """What the caller does, and what follows from it."""
        turns = self.config.turn_detection
        for output in outputs:
            yield output
            match output:
                case e.SpeechStarted() if turns and turns.interrupt_response:
                    yield from self._interrupt(now, turns.create_response)
                case e.AudioCommitted(item_id, wants_answer=True) if turns and turns.create_response:
                    self._unanswered.append(item_id)
                case c.StopTranscribing() | c.WentOn():
                    self._gate.went_on()
                case e.Transcribed(item_id, transcript=transcript):
                    if transcript:
                        self._silence.caller_spoke(now)
                        yield from self._interrupted_by(item_id)
                    yield from self.go_on()
                case e.TranscriptionFailed(item_id):
                    self._not_heard |= item_id in self._unanswered
                    self._silence.something_was_said(now)
                    yield from self.go_on()

    def stop(self, now: float) -> Iterator[Output]:
        """The caller wants silence, and says nothing."""
        if not self._yields(now):
            return
        if self.answers.aloud and self._playback.unfinished(now):
            yield e.PlaybackCleared(self.answers.aloud.response.id)
        yield from self._interrupt(now, answer_again=False)

    def typed(self, text: str, now: float) -> Iterator[Output]:
        """The caller's turn is this text."""
        yield from self.stop(now)
        item = Message(self._new_id("item"), "user", [Part("input_text", text)])
        previous = self._history.insert(item)
        yield e.ItemAdded(snapshot(item), previous)
        yield e.ItemDone(snapshot(item), previous)
        self._silence.caller_spoke(now)
        self._unanswered.append(item.id)
        yield from self.go_on()

    def follow_silence(self, now: float, audio_ends: float) -> Iterator[Output]:
        """Nobody speaks; after a while the assistant does. The caller's audio ends at `audio_ends`, by its clock."""
        if self.answers.for_caller or self._utterances.speaking or not self._recognition.all_heard:
            return
        seconds = self._silence.seconds(now, self._playback.ends_at)
        if filler := self._silence.filler(seconds):
            yield from self.respond(filler)
            return
        timeout = self.config.turn_detection.idle_timeout if self.config.turn_detection else None
        if timeout is None or not self._silence.idle or seconds < timeout:
            return
        item = Message(self._new_id("item"), "user", [Part("input_audio", "")])
        start = max(0.0, audio_ends - timeout)  # there may have been no audio
        yield e.IdleTimedOut(item.id, round(start * 1000), round((start + timeout) * 1000))
        yield from commit_item(self._history, item)
        yield from self.respond(Asked(self.config.response, self._history, (STILL_THERE,), unasked=True))

    def speculate(self) -> Iterator[Output]:
        """The turn is likely over, and the model can begin with what its answer will be to."""
        likely, turns = self._utterances.likely_turn, self.config.turn_detection
        speculates = self._speculates and self.config.speculation == "full"
        if not (speculates and likely and turns and turns.create_response):
            return
        if self.answers.main or not self._recognition.all_heard or not self._gate.opens(likely):
            return
        config = self.config.response
        if expected := self.context.expected(config, self.config.truncation, self._history, likely.words):
            request, tokens = expected
            size = self._history.text_bytes + len(config.instructions)
            yield c.Speculate(likely.item_id, config, request, size, tokens)

    def _yields(self, now: float) -> bool:
        """Whether what is being said, or about to be, may be interrupted."""
        aloud = self.answers.aloud
        heard = [aloud] if aloud and self._playback.ends_at > now else self.answers.for_caller
        return not heard or any(answer.response.config.interruptible for answer in heard)

    def _interrupt(self, now: float, answer_again: bool) -> Iterator[Output]:
        """What is spoken falls silent. What runs beside the conversation and is not heard is not the caller's to stop.

        The caller only went on speaking, or it is noise: what was asked before still wants its answer, or its rest.
        """
        if not self._yields(now):
            return
        owed, aloud = None, self.answers.aloud
        heard = [answer for answer in self.answers.for_caller if answer.in_conversation or answer is aloud]
        for answer in heard:
            if answer.response.config.interruptible:
                rest = self._rest(answer, now) if answer_again else None
                owed = rest or owed
                yield from self.end(answer, now, "cancelled", reason="turn_detected", may_go_on=rest is not None)
        if aloud and not heard and not (aloud.asked.words or aloud.response.calls) and self._playback.unfinished(now):
            asked = Asked(replace(aloud.response.config, tool_choice="none"), self._history, rest_of=aloud.response)
            owed = asked.going_on()
        if answer_again and owed:
            self._owed = owed
        self.spoken.silence(now)

    def _rest(self, answer: UnderWay, now: float) -> Asked | None:
        """What the caller still wants of an answer that is stopped now, if they say nothing."""
        if answer.asked.words:
            return None
        asked = replace(answer.asked, rest_of=answer.response)
        if not self.spoken.had_effect(answer.response, now):
            return asked
        whole = answer.asked.items is self._history and not answer.response.calls
        return asked.going_on() if whole else None

    def _interrupted_by(self, item_id: str) -> Iterator[Output]:
        """The turn `item_id` has words: if it stopped an answer, the rest of that is not wanted any more."""
        if self._owed and self._owed.rest_of and item_id in self._unanswered:
            yield c.StopGenerating(self._owed.rest_of.id)
            self._owed = None

    def speaks_over_caller(self, answer: UnderWay) -> bool:
        """Whether an answer that runs beside the conversation would begin to be heard while the caller speaks."""
        if answer.in_conversation or not answer.response.config.interruptible:
            return False
        turns = self.config.turn_detection
        return turns is not None and turns.interrupt_response and self._utterances.speaking

    # --- answers

    def respond(self, asked: Asked) -> Iterator[Output]:
        """Begin an answer; the conversation has none."""
        answer = self.answers.begin(asked)
        if answer.for_caller:
            self._silence.answer_begins(answer.in_conversation)
            self.unasked = asked.unasked
        yield from answer.writer.start()
        yield from self._ask_if_heard()

    @property
    def answering(self) -> Answering:
        """Whether the caller is owed an answer. What is said of our own accord is none."""
        main = self.answers.main
        if main and not (main.asked.words or main.asked.unasked):
            return "begun" if main.response.output else "due"
        if self._owed:
            return "begun"
        return "due" if any(map(self._has_words, self._unanswered)) else "no"

    def resume(self, answering: Answering, missed: bool, now: float) -> Iterator[Output]:
        """Go on with a conversation that was cut off; `missed`: the caller did not hear all that was said to them."""
        calls: list[Item] = [*open_calls(self._history)]
        self._silence.answer_ends(Response("", self.config.response, "completed", output=calls), now)
        if calls or (answering == "no" and not missed):
            return
        config = self.config.response if answering != "no" else replace(self.config.response, tool_choice="none")
        asked = Asked(config, self._history)
        begun = answering != "due" and self._history.ends_with("assistant")
        yield from self.respond(asked.going_on() if begun else asked)

    def go_on(self) -> Iterator[Output]:
        """Do what has waited for the caller's words, for the end of their turn or for that of an answer."""
        yield from self._ask_if_heard()
        yield from self._answer_if_due()

    def end(
        self,
        answer: UnderWay,
        now: float,
        status: ResponseStatus,
        usage: Usage | None = None,
        reason: EndReason | None = None,
        failure: Failure | None = None,
        may_go_on: bool = False,
    ) -> Iterator[Output]:
        """An answer under way ends, well or not. `may_go_on`: its rest may be wanted yet."""
        yield from self.answers.end(answer, status, usage, reason, failure, may_go_on)
        if answer.for_caller:
            self._silence.answer_ends(answer.response, now)

    def _answer_if_due(self) -> Iterator[Output]:
        if self.answers.main or self._utterances.speaking or not self._recognition.all_heard:
            return
        turns, self._unanswered = self._unanswered, []
        owed, self._owed = self._owed, None
        not_heard, self._not_heard = self._not_heard, False
        if any(map(self._has_words, turns)):
            yield from self.respond(Asked(self.config.response, self._history))
        elif owed:
            yield c.VoiceJudged("false")
            yield from self.respond(owed)
        elif not_heard and (line := self._line("not_heard", self.config.response)):
            yield c.SaidInstead("not_heard")
            yield from self.respond(Asked(spoken_aside(self.config.response), (), words=line, filler=True))

    def line_instead(self, answer: UnderWay, kind: LineKind) -> str:
        """What is said in place of what `answer` can't say; nothing where nobody waits for it, or the caller speaks."""
        asked = answer.asked
        if asked.unasked or asked.words or self._utterances.speaking:
            return ""
        return self._line(kind, asked.config)

    def _line(self, kind: LineKind, config: ResponseConfig) -> str:
        return self._lines.text(kind, self.config.language) if config.modality == "audio" else ""

    def _has_words(self, item_id: str) -> bool:
        """Noise that was taken for speech has none, and wants no answer."""
        return item_id in self._history and bool(chat_messages([self._history.get(item_id)]))

    def _ask_if_heard(self) -> Iterator[Output]:
        """The model is asked once the words of everything that was said are known.

        Where the caller is in the middle of a turn, nothing is said over them: that turn is answered too.
        """
        for answer in self.answers:
            heard = self._recognition.all_heard and not (answer.for_caller and self._utterances.speaking)
            if answer.waits and heard:
                answer.waits = False
                yield from self._ask(answer)

    def _ask(self, answer: UnderWay) -> Iterator[Output]:
        """Ask the model: for an answer to the conversation as far as it can read it, or to all of other items."""
        response, asked, truncation = answer.response, answer.asked, self.config.truncation
        if asked.words:
            yield c.Say(response, asked.words)
        elif asked.items is self._history:
            if answer.in_conversation:
                # Whoever asked, everything said so far is answered.
                self._unanswered, self._owed, self._not_heard = [], None, False
            requested = self.context.request(response.config, truncation, self._history, asked.asides)
            if requested.left_out:
                yield c.ItemsLeftOut(requested.left_out)
            yield from self._generate(answer, requested, self._history.text_bytes)
        else:
            requested = self.context.other_request(response.config, truncation, asked.items, asked.asides)
            yield from self._generate(answer, requested, sum(map(text_bytes, asked.items)))

    def _generate(self, answer: UnderWay, requested: Requested, size: int) -> Iterator[Output]:
        answer.requested, rest_of = requested, answer.asked.rest_of
        size += len(answer.response.config.instructions)
        goes_on = self.spoken.rest(rest_of) if rest_of else None
        yield c.Generate(answer.response, requested.request, size, goes_on)
