"""Gathers what is known about a pause in the caller's turn, and how this caller pauses, for the turn policy.

Pure. One object for a call; a pause begins, evidence comes, and the caller goes on or the turn is over.
"""

from server.conversation.commands import EndOfTurn, TurnEnded
from server.conversation.intensity import Intensity
from server.conversation.turn_policy import Eagerness, Evidence, Patience, patience
from server.conversation.turn_words import ending_of, words_missing

_SHORTEST_PAUSE_SECONDS = 0.2  # shorter ones are between words
_MEMORY = 0.8  # a long pause counts at once, and is forgotten over the next ten or so


class TurnJudge:
    """What is known about the pause that is going on, if there is one."""

    def __init__(self, eagerness: Eagerness | None) -> None:
        self.eagerness = eagerness
        self._evidence: Evidence | None = None
        self._intensity = Intensity()
        self._asked = self._language = ""
        self._own_pause = self._longest_pause = 0.0

    @property
    def patience(self) -> Patience | None:
        """How long to wait in this pause; None: there is none, or silence alone decides."""
        return patience(self._evidence, self.eagerness) if self._evidence and self.eagerness else None

    @property
    def likely_over(self) -> bool:
        """Whether the turn may well be over, by all that is known of this pause."""
        return (waited := self.patience) is not None and waited.reason in ("finished", "unsure")

    def frame(self, level: float, voiced: bool) -> None:
        """The level of the next frame (32 ms), in dB below full scale, and whether the caller speaks in it."""
        self._intensity.frame(level, voiced)

    def paused(self, asked: str, language: str) -> None:
        """The caller has fallen silent. `asked` is what was said to them last, `language` theirs (ISO 639-1)."""
        self._evidence = Evidence(fall=self._intensity.fall, own_pause=self._own_pause)
        self._asked, self._language = asked, language

    def resumed(self, seconds: float) -> None:
        """The caller went on after so long a pause."""
        self._evidence = None
        self._longest_pause = max(self._longest_pause, seconds)
        if seconds >= _SHORTEST_PAUSE_SECONDS:
            self._own_pause = max(seconds, _MEMORY * self._own_pause + (1 - _MEMORY) * seconds)

    def heard(self, words: str, early: str) -> None:
        """What the caller has said in this turn, up to the pause; `early`: what an early pass understood.

        Recognisers tend to leave out a last "to" or to make a sentence of what is none: what one of two passes heard to
        be left open is.
        """
        if self._evidence:
            ending = ending_of(words, self._asked, self._language)
            if ending == "plain" and ending_of(early, self._asked, self._language) == "open":
                ending = "open"
            self._evidence.ending = ending
            self._evidence.words_missing = words_missing(words, self._asked, self._language)

    def judged(self, sounds_finished: float) -> None:
        """The probability, 0 to 1, that the turn is over by its sound."""
        if self._evidence:
            self._evidence.sounds_finished = sounds_finished

    def over(self, silence: float, otherwise: EndOfTurn) -> TurnEnded:
        """The turn is over, its last speech `silence` seconds ago; `otherwise` is why, where the policy has no say."""
        waited = self.patience
        known = self._evidence or Evidence()
        reason = waited.reason if waited else otherwise
        ended = TurnEnded(silence, reason, self._longest_pause, known.sounds_finished, known.fall)
        self.clear()
        return ended

    def clear(self) -> None:
        """There is no turn any more."""
        self._evidence = None
        self._intensity.clear()
        self._longest_pause = 0.0
