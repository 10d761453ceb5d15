"""Voice that is heard while the assistant's speech is being played, from its start until it is known what it was.

Pure. The answer goes on and the client is told nothing until then: clients drop their audio when they are told that the
caller speaks. What the verdict rests on is `server.conversation.interruptions`'.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from server.audio.voice import openness, speech_level
from server.conversation.backchannels import words_of
from server.conversation.commands import Judgement, VoiceJudged
from server.conversation.endpointing import SOFT_ONSET_SECONDS, TurnDetection
from server.conversation.events import SpeechStopped, Transcribed, TranscriptionFailed
from server.conversation.interruptions import (
    MIN_VOICED_SECONDS,
    Evidence,
    Surroundings,
    heard_words,
    is_far,
    is_hummed,
    is_sure,
    judge,
    read,
)
from server.conversation.outputs import Output
from server.conversation.playback import Playback
from server.conversation.recognition import Recognition
from server.conversation.undecided import recent_start
from server.conversation.utterance import Utterance
from server.conversation.utterances import Utterances

# Who speaks so soon after their turn was taken to be over goes on with it, and the answer has only begun: no one reacts
# to an answer within that time (a turn's end, the answer's first second).
_GOES_ON_SECONDS = 1.0
# But what is heard once the answer is may be its echo, which comes back no sooner than that.
_UNECHOED_SECONDS = 0.1
# Words are asked for once there is voice enough to hold one. While it is open what the voice is, they are asked for
# again, each time after so much more of it.
_MORE_WORDS_SECONDS = 0.06
# What is heard in less than this may still become another word, and may be a hum.
_SHORT_SECONDS = 0.6
# Who speaks fast says so many. Of half a second recognisers make whole sentences: "It has to be done." in "uh-huh".
_WORDS_A_SECOND = 5
# After so much voice nothing is urgent any more: an echo may last as long as the answer.
_LONG_SECONDS = 1.5
_MORE_WORDS_OF_LONG_SECONDS = 0.5
# An echo comes back late by the line's delay, and where in a clause a word is spoken is an estimate.
_PLAYED_BEFORE_SECONDS = 1.5
_PLAYED_AFTER_SECONDS = 0.5
# An answer to a question may begin in its last second, and a while after it; one that picks what it offers, as soon as
# that is said.
_QUESTION_BEFORE_SECONDS = 3.0
_QUESTION_AFTER_SECONDS = 1.0
_OFFER_AFTER_SECONDS = 3.0
# An echo is heard where there was one before, and from the first word on: right after the assistant began to speak. The
# first fragment of one is understood worst, and its words are not yet like those that are played.
_ONSET_SECONDS = 0.8
# That there is one is certain from so many words.
_ECHO_WORDS = 3


@dataclass(frozen=True, slots=True)
class Floor:
    """Whose turn it is. `now` is monotonic seconds; `held`: the assistant is being heard; `yields`: it may be stopped.

    `turns` are the session's settings, `language` is the caller's.
    """

    now: float
    held: bool
    yields: bool
    turns: TurnDetection
    language: str


class Candidates:
    """What may be an interruption, among `utterances`, while `playback` goes on."""

    def __init__(self, utterances: Utterances, recognition: Recognition, playback: Playback) -> None:
        self._utterances = utterances
        self._undecided = utterances.undecided
        self._recognition = recognition
        self._playback = playback
        self._audio_end = 0.0
        self._turn_ended: float | None = None  # on the clock of the caller's audio, as all its times
        self._echoed = False

    def voice_activity(self, start: float, end: float, probability: float, floor: Floor) -> Iterator[Output]:
        """The probability that the caller speaks between `start` and `end`, in seconds of their audio."""
        self._audio_end = end
        goes_on = self._turn_ended is not None and start - self._turn_ended < _GOES_ON_SECONDS
        goes_on = goes_on and floor.now - (end - start) < self._playback.began_at + _UNECHOED_SECONDS
        unsure = floor.held and not (goes_on and floor.yields)
        yield from self._noting_ends(self._utterances.voice_activity(start, end, probability, unsure))
        for candidate in self._utterances.candidates:
            if candidate.evidence and not candidate.over and is_sure(probability, floor.turns.threshold):
                candidate.evidence.voiced += end - start
        yield from self.weigh(floor)

    def audio_stopped(self, end: float, silence: float, floor: Floor) -> Iterator[Output]:
        """The caller's audio stopped at `end`, `silence` seconds ago, and an open utterance ends with it."""
        yield from self._noting_ends(self._utterances.audio_stopped(end, silence))
        yield from self.weigh(floor)

    def answered(self, attempt: int, answer: Transcribed | TranscriptionFailed, floor: Floor) -> Iterator[Output]:
        """Recognition gave its answer to the request numbered `attempt`. A stale one is dropped."""
        candidate = next((given for given in self._utterances.candidates if given.item_id == answer.item_id), None)
        if candidate is None:
            yield from self._utterances.answered(attempt, answer)
        elif candidate.asked and candidate.answer is None and candidate.attempt == attempt:
            self._hear(candidate, answer, floor)
            yield from self.weigh(floor)

    def weigh(self, floor: Floor) -> Iterator[Output]:
        """Decide what can be decided by now. To be called when time has passed."""
        for candidate in self._utterances.candidates:
            evidence = candidate.evidence
            assert evidence is not None, "what is announced is no candidate"
            verdict = judge(evidence)
            if verdict == "interruption" and floor.held and floor.yields:
                yield from self._announce(candidate, evidence, "interruption")
            elif not floor.held and (verdict == "interruption" or evidence.may_be_turn):
                yield from self._announce(candidate, evidence, "turn")
            elif not candidate.over or not evidence.whole:
                yield from self._ask_if_due(candidate, evidence, floor)
            elif verdict == "backchannel":
                yield VoiceJudged("backchannel", evidence.voiced)
                yield from self._undecided.keep(candidate, told_as_turn=floor.turns.create_response)
            elif verdict != "interruption":  # which waits for the end of an answer that can't be interrupted
                self._echoed |= verdict == "echo"
                yield VoiceJudged(verdict or "noise", evidence.voiced)
                yield from self._undecided.drop(candidate)

    def _announce(self, candidate: Utterance, evidence: Evidence, judgement: Judgement) -> Iterator[Output]:
        yield VoiceJudged(judgement, evidence.voiced)
        yield from self._noting_ends(self._utterances.announce(candidate))

    def _noting_ends(self, outputs: Iterator[Output]) -> Iterator[Output]:
        for output in outputs:
            if isinstance(output, SpeechStopped):
                self._turn_ended = output.audio_end_ms / 1000
            yield output

    def _ask_if_due(self, candidate: Utterance, evidence: Evidence, floor: Floor) -> Iterator[Output]:
        if candidate.asked or not self._is_due(candidate, evidence):
            return
        pcm = self._undecided.recent_audio(candidate, self._audio_end)
        usual = self._recognition.usual_level
        # A quiet caller who has not spoken before is no less heard, once the assistant is silent.
        evidence.far = (floor.held or usual is not None) and is_far(speech_level(pcm), usual)
        evidence.hummed = evidence.voiced < _SHORT_SECONDS and is_hummed(openness(pcm))
        if evidence.far and not candidate.over:  # what the caller may say over it begins later
            candidate.start = max(candidate.start, self._audio_end - SOFT_ONSET_SECONDS)
        evidence.asked, evidence.asked_in_pause = evidence.voiced, candidate.paused
        if evidence.far or evidence.voiced < MIN_VOICED_SECONDS:
            evidence.heard, evidence.reading = evidence.voiced, "none"
            evidence.whole = candidate.over is not None
        else:
            yield self._undecided.ask(candidate, self._audio_end, soon=not self._may_be_echo(candidate, floor))

    def _is_due(self, candidate: Utterance, evidence: Evidence) -> bool:
        if candidate.over:
            return True
        unasked = evidence.voiced - evidence.asked
        if candidate.paused:
            return evidence.voiced >= MIN_VOICED_SECONDS and (unasked > 0 or not evidence.asked_in_pause)
        if not evidence.asked:
            return unasked >= MIN_VOICED_SECONDS
        urgent = evidence.reading is not None and evidence.voiced < _LONG_SECONDS  # and recognition works
        return unasked >= (_MORE_WORDS_SECONDS if urgent else _MORE_WORDS_OF_LONG_SECONDS)

    def _may_be_echo(self, candidate: Utterance, floor: Floor) -> bool:
        """Whether its first words may be an echo's, which are understood worst."""
        begin = floor.now - (self._audio_end - candidate.start) + floor.turns.prefix_padding
        return self._echoed or begin < self._playback.began_at + _ONSET_SECONDS

    def _hear(self, candidate: Utterance, answer: Transcribed | TranscriptionFailed, floor: Floor) -> None:
        evidence = candidate.evidence
        assert evidence is not None, "what is announced is no candidate"
        if candidate.whole:
            candidate.answer = answer
        else:
            candidate.asked = False
        evidence.whole = candidate.whole
        if isinstance(answer, Transcribed):
            around = self._surroundings(candidate, evidence, floor)
            most_words = 1 + round(_WORDS_A_SECOND * evidence.asked)
            words = heard_words(answer.transcript, candidate.whole, most_words)
            evidence.reading = read(words, candidate.whole, around)
            evidence.heard = evidence.asked
            evidence.nodded |= evidence.reading == "backchannel"
            evidence.words = words or evidence.words
            self._echoed |= evidence.reading == "echo" and len(words) >= _ECHO_WORDS

    def _surroundings(self, candidate: Utterance, evidence: Evidence, floor: Floor) -> Surroundings:
        begin, since = (
            floor.now - (self._audio_end - start)
            for start in (candidate.start, recent_start(candidate, self._audio_end))
        )
        since = begin if candidate.whole else since
        said = self._playback.said(since - _PLAYED_BEFORE_SECONDS, floor.now + _PLAYED_AFTER_SECONDS)
        begin += floor.turns.prefix_padding
        asked, short = begin - _QUESTION_BEFORE_SECONDS, evidence.asked < _SHORT_SECONDS
        return Surroundings(
            played=words_of(said),
            asked=self._playback.asked(asked, begin + _QUESTION_AFTER_SECONDS),
            offers=not self._echoed and self._playback.asked(asked, begin + _OFFER_AFTER_SECONDS),
            hummed=evidence.hummed,
            before=evidence.words,
            nodded=evidence.nodded,
            unclear=short and self._may_be_echo(candidate, floor),
            language=floor.language,
        )
