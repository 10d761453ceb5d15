"""The caller's side of the conversation: from audio to utterances, and when their words are asked for.

Pure. An utterance is being spoken, then committed (it becomes an item), then heard (its words are known). Recognition
is begun at a pause, on the chance that the utterance is over, so that its end costs no further wait; and what was said
before a pause is not listened to again, so that the end of a long turn costs no more than that of a short one. One that
may be no turn (`server.conversation.candidates`) is a candidate before all that, of which the client is told nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from server.audio.voice import frame_level
from server.conversation.commands import EndOfTurn, Glimpse, JudgeTurn, WentOn
from server.conversation.endpointing import Endpoint, Paused, Resumed, Started, TurnDetection
from server.conversation.errors import BufferTooShort
from server.conversation.events import (
    AudioCleared,
    SpeechStarted,
    SpeechStopped,
    Transcribed,
    TranscriptionFailed,
    WordsHeard,
)
from server.conversation.history import History
from server.conversation.interruptions import Evidence
from server.conversation.listener import SAMPLE_RATE, Listener
from server.conversation.nearness import Nearness
from server.conversation.outputs import Output
from server.conversation.recognition import Recognition
from server.conversation.speculation import LikelyTurn
from server.conversation.turn_judge import TurnJudge
from server.conversation.turn_words import ending_of
from server.conversation.undecided import Undecided
from server.conversation.utterance import LONGEST_CHANCE_SECONDS, Utterance

# Less audio than this holds no word; OpenAI Realtime refuses to commit it too.
MIN_COMMIT_SECONDS = 0.1
# What a resampler on the way here may still hold back of it.
_RESAMPLER_LAG_SECONDS = 0.005
# The voice detector is sure of speech a little after its start.
_ONSET_SECONDS = 0.3
# How much of a turn's end is judged by its sound; smart-turn hears no more.
_JUDGED_SECONDS = 8.0


class Utterances:
    """What the caller is saying and has said, until its words stand in `history`."""

    def __init__(
        self,
        turn_detection: TurnDetection | None,
        history: History,
        recognition: Recognition,
        new_id: Callable[[str], str],
        listens_ahead: bool,
    ) -> None:
        """`listens_ahead`: where turns end by what was said, or are only told, words are asked for before their end."""
        self._listens_ahead = listens_ahead
        self._transcribes = False
        self._listener = Listener(turn_detection)
        self._nearness = Nearness()
        self._judge = TurnJudge(turn_detection.eagerness if turn_detection else None)
        self._language = ""
        self._history = history
        self._new_id = new_id
        self._recognition = recognition
        self.undecided = Undecided(self._listener, recognition)
        self._spoken: Utterance | None = None
        self._audio_end = 0.0

    @property
    def speaking(self) -> bool:
        """Whether the caller is in the middle of an utterance that the client has been told of."""
        return self.open and not (self._spoken and self._spoken.evidence)

    @property
    def open(self) -> bool:
        """Whether the caller is in the middle of an utterance, or of what may be one."""
        return self._listener.speaking

    @property
    def candidates(self) -> list[Utterance]:
        """What may be no turn: those that are over and undecided, and the one that is being spoken."""
        spoken = [self._spoken] if self._spoken and self._spoken.evidence else []
        return [*self.undecided.over, *spoken]

    @property
    def announced_id(self) -> str | None:
        """Id of the item that the open utterance will become, which the client has been told."""
        return self._spoken.item_id if self._spoken else None

    @property
    def likely_turn(self) -> LikelyTurn | None:
        """What is being said, if it is likely all."""
        spoken = self._spoken
        if spoken and isinstance(spoken.answer, Transcribed):
            likely = self._judge.likely_over
            return LikelyTurn(spoken.item_id, spoken.answer.transcript, early=False) if likely else None
        if spoken and (words := spoken.early.current):
            likely = ending_of(words, self._history.latest("assistant"), self._language) == "plain"
            return LikelyTurn(spoken.item_id, words, early=True) if likely else None
        return None

    @property
    def _hears_words_early(self) -> bool:
        return self._listens_ahead and (self._transcribes or self._judge.eagerness is not None)

    def configure(
        self, turn_detection: TurnDetection | None, language: str, listens_ahead: bool, transcribes: bool
    ) -> None:
        """Take new settings. An utterance that is open under the old ones is open no more; its audio stays.

        `language` is the caller's, ISO 639-1, or several, comma-separated; empty: not known. `transcribes`: words are
        told while the caller speaks, whatever ends their turns.
        """
        self._transcribes = transcribes
        self._listens_ahead = listens_ahead
        self._listener.configure(turn_detection)
        self._judge.eagerness = turn_detection.eagerness if turn_detection else None
        if self._judge.eagerness is None:
            self._nearness.begin()
        self._language = language.partition(",")[0]
        if not self._listener.speaking:
            self._spoken = None
            self._judge.clear()
        if turn_detection is None:
            self.undecided.forget()

    def append_audio(self, pcm: bytes) -> None:
        """The caller's next audio: 16-bit little-endian mono PCM at 16 kHz."""
        self._listener.append(pcm)

    def voice_activity(self, start: float, end: float, probability: float, unsure: bool = False) -> Iterator[Output]:
        """The probability that the caller speaks between `start` and `end`, in seconds of their audio.

        `unsure`: what starts now may be no turn, and is a candidate at first.
        """
        self._audio_end = end
        level = frame_level(self._listener.audio(start, end))
        voiced = self._listener.is_voice(probability)
        near = self._is_near(start, end, level, voiced, unsure)
        endpoint = self._listener.push(start, end, probability, near)
        if isinstance(endpoint, Started):
            self._nearness.begin()
            self._judge.clear()
            self._spoken = Utterance(self._new_id("item"), endpoint.start, evidence=Evidence() if unsure else None)
            if not unsure:
                yield _started(self._spoken)
        elif endpoint is not None:
            utterance = self._spoken
            assert utterance is not None, "endpointing pauses, resumes and stops only what it started"
            match endpoint:
                case _ if utterance.evidence:
                    self._follow_undecided(utterance, endpoint)
                case Paused():
                    yield from self._paused(utterance, end)
                case Resumed(speech_end, seconds):
                    self._judge.resumed(seconds)
                    utterance.settle(speech_end + seconds / 2)
                    utterance.early.resumed()
                    yield from self._recognition.stop(utterance)
                case _:
                    yield from self._stopped(utterance, end, end - endpoint.speech_end, "silence")
        elif voiced and self._transcribes and not self._spoken and self._listener.holds_by_hand(start):
            self._spoken = Utterance(self._new_id("item"), start - _ONSET_SECONDS)
        if not voiced or (near and self._spoken):
            self._judge.frame(level, voiced)
        if self._hears_words_early and self._spoken and not self._spoken.evidence:
            yield from self._listen_ahead(self._spoken, end, level, voiced and near)

    def audio_stopped(self, end: float, silence: float) -> Iterator[Output]:
        """The caller's audio stopped at `end`, `silence` seconds ago, and the open utterance ends with it."""
        assert self._spoken is not None, "the caller was speaking"
        stopped = self._listener.stop(end)
        if self._spoken.evidence:
            self._follow_undecided(self._spoken, stopped)
            return
        yield from self._stopped(self._spoken, end, end - stopped.speech_end + silence, "audio_gone")

    def commit(self) -> Iterator[Output]:
        """End the utterance by hand: all that is held is committed. Raises `BufferTooShort`."""
        held = self._listener.buffered
        if held < MIN_COMMIT_SECONDS - _RESAMPLER_LAG_SECONDS:
            raise BufferTooShort(held, MIN_COMMIT_SECONDS)
        utterance, self._spoken = self._spoken or Utterance(self._new_id("item")), None
        yield self._judge.over(0.0, "committed")
        yield from self._recognition.stop(utterance)
        yield from self._recognition.commit(utterance)
        utterance.settled, utterance.settled_seconds, utterance.settled_tokens = "", 0.0, ()
        yield self._recognition.ask(utterance, self._listener.take_all())

    def clear(self) -> Iterator[Output]:
        """Forget the audio that is not committed."""
        self._listener.clear()
        if self._spoken:
            yield from self._recognition.stop(self._spoken)
        self._spoken = None
        self._judge.clear()
        yield from self.undecided.drop_all()
        yield AudioCleared()

    def announce(self, candidate: Utterance) -> Iterator[Output]:
        """The candidate is a turn, or the beginning of one."""
        candidate.evidence = None
        if candidate is self._spoken:
            yield _started(candidate)
            if not candidate.whole:
                yield from self._recognition.stop(candidate)
            if candidate.paused:
                yield from self._paused(candidate, self._audio_end)
            return
        assert candidate.over is not None, "what is not being spoken is over"
        if not self.speaking:  # or one that was announced before it goes on, and tells of one at a time
            yield _started(candidate)
            yield SpeechStopped(candidate.item_id, round(candidate.over.end * 1000))
        yield self._judge.over(self._audio_end - candidate.over.speech_end, "silence")
        yield from self.undecided.settle(candidate)

    # --- words

    def answered(self, attempt: int, answer: Transcribed | TranscriptionFailed) -> Iterator[Output]:
        """Recognition gave its answer to the request numbered `attempt`. A stale one is dropped."""
        being_spoken = self._spoken is not None and self._spoken.item_id == answer.item_id
        utterance = self._spoken if being_spoken else self._recognition.unheard(answer.item_id)
        if utterance is None or utterance.attempt != attempt or not utterance.asked:
            return
        utterance.answer = answer = utterance.complete(answer)
        if not being_spoken:
            yield from self._recognition.deliver(utterance, answer)
        else:
            self._weigh_words(utterance)

    def glimpsed(self, item_id: str, attempt: int, words: str, sure: bool) -> Iterator[Output]:
        """The answer to a `Glimpse`, if only that there is none; `sure`: a `Transcribe` of it would find the same."""
        spoken = self._spoken
        if spoken is None or spoken.item_id != item_id:
            return
        if delta := spoken.early.heard(attempt, f"{spoken.settled} {words}".strip(), sure):
            yield WordsHeard(item_id, delta)
        yield from self._find_words(spoken)

    def judged(self, item_id: str, attempt: int, sounds_finished: float) -> None:
        """How finished the turn sounds (probability, 0 to 1): the answer to the request numbered `attempt`."""
        if self._spoken and (self._spoken.item_id, self._spoken.attempt) == (item_id, attempt):
            self._judge.judged(sounds_finished)
            self._wait()

    def _is_near(self, start: float, end: float, level: float, voiced: bool, unsure: bool) -> bool:
        """Whether a frame may be the caller's. What is unsure is judged as a whole, as a candidate.

        The rule of silence alone is OpenAI's, which knows no levels.
        """
        if self._judge.eagerness is None:
            return True
        if self._spoken:
            return self._nearness.goes_on(end, level, voiced) or self._spoken.evidence is not None
        return unsure or self._nearness.starts(end - start, level, self._recognition.usual_level)

    def _listen_ahead(self, spoken: Utterance, end: float, level: float, voiced: bool) -> Iterator[Output]:
        match spoken.early.frame(level, voiced):
            case "quiet" if not spoken.asked and end - spoken.start <= LONGEST_CHANCE_SECONDS:
                yield Glimpse(spoken.item_id, spoken.early.ask(), self._listener.audio(spoken.start, end))
            case "went_on":
                yield WentOn(spoken.item_id)

    def _follow_undecided(self, candidate: Utterance, endpoint: Endpoint) -> None:
        self.undecided.follow(candidate, endpoint)
        if candidate.over:
            self._spoken = None

    def _paused(self, utterance: Utterance, end: float) -> Iterator[Output]:
        """It may be over: its words are wanted, and how finished it sounds."""
        end = min(end, self._nearness.covered_from)
        if self._judge.eagerness:
            self._judge.paused(self._history.latest("assistant"), self._language)
            self._wait()
        if utterance.asked:
            self._weigh_words(utterance)
        elif end - utterance.start <= LONGEST_CHANCE_SECONDS:
            utterance.question = self._recognition.ask(utterance, self._listener.audio(utterance.start, end))
            yield from self._find_words(utterance)
        if self._judge.eagerness:
            start = max(utterance.start - utterance.settled_seconds, end - _JUDGED_SECONDS)
            yield JudgeTurn(utterance.item_id, utterance.attempt, self._listener.audio(start, end))

    def _find_words(self, utterance: Utterance) -> Iterator[Output]:
        """The words at a pause: those that were asked for before it, once they are known and if they are sure."""
        if utterance.question is None or utterance.early.pending:
            return
        question, utterance.question = utterance.question, None
        if utterance.early.sure:
            seconds = utterance.settled_seconds + len(question.pcm) / 2 / SAMPLE_RATE
            utterance.answer = Transcribed(utterance.item_id, 0, utterance.early.current, seconds)
            self._weigh_words(utterance)
        else:
            yield replace(question, thorough=utterance.early.doubtful)

    def _weigh_words(self, utterance: Utterance) -> None:
        if isinstance(utterance.answer, Transcribed):
            self._judge.heard(utterance.answer.transcript, utterance.early.current)
            self._wait()

    def _wait(self) -> None:
        """Wait for as much silence as the evidence asks for."""
        if patience := self._judge.patience:
            self._listener.wait_for(patience.seconds)

    def _stopped(self, utterance: Utterance, end: float, silence: float, why: EndOfTurn) -> Iterator[Output]:
        """The utterance is over: at `end` of the caller's audio, `silence` seconds after their last speech."""
        yield SpeechStopped(utterance.item_id, round(end * 1000))
        yield self._judge.over(silence, why)
        yield from self._recognition.commit(utterance)
        if utterance.question:  # nobody knows when what was asked for before will be answered
            yield utterance.question
        elif not utterance.asked:  # it was too long, or the silence that ends a turn is set shorter than a pause
            said_until = min(end, self._nearness.covered_from)
            yield self._recognition.ask(utterance, self._listener.audio(utterance.start, said_until))
        self._spoken = None
        self._listener.drop_before(end)
        if utterance.answer:
            yield from self._recognition.deliver(utterance, utterance.answer)


def _started(utterance: Utterance) -> SpeechStarted:
    return SpeechStarted(utterance.item_id, round(utterance.start * 1000))
