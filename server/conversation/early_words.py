"""Words before the end: what a caller has said so far, while they speak.

Pure. A voice falls quiet between words and at its end, and its level shows that some 0.1 s before a voice detector is
sure of it. At each such moment the recogniser is asked, to answer at once and less surely than at a pause. If nothing
was said until it answers, its words are likely all of the turn.
"""

import re
from typing import Literal

from server.conversation.turn_words import folded

# A voice is quiet so far below its loudest frames, and goes on a little above that.
_QUIET_DB, _GOES_ON_DB = 20.0, 15.0
# Between two words, and in the middle of one ("to|p"), a voice is often quiet for two frames, and seldom for four.
_FRAMES_TO_ASK, _FRAMES_TO_BELIEVE = 3, 4
# How fast the loudest frame is forgotten: a word that is spoken more softly is one all the same.
_FORGOTTEN_DB = 0.3
_FLOOR_DB = -96.0


class EarlyWords:
    """What is heard of one utterance before its end."""

    def __init__(self) -> None:
        self._peak = _FLOOR_DB
        self._quiet = 0  # frames
        self._attempt = 0
        self._words = ""
        self._sure = self._clear = False
        self._heard = False  # the last attempt
        self._went_on = False  # since that was asked for
        self._told: list[str] = []

    @property
    def current(self) -> str:
        """The words of all that was said, if nothing was said since they were asked for, nor for some frames."""
        known = self._heard and not self._went_on and self._quiet >= _FRAMES_TO_BELIEVE
        return self._words if known else ""

    @property
    def sure(self) -> bool:
        """Whether to recognise `current` once more would find the same."""
        return self._sure and self.current != ""

    @property
    def pending(self) -> bool:
        """Whether the words of all that was said are asked for, and not known yet."""
        return self._attempt > 0 and not self._heard and not self._went_on

    @property
    def doubtful(self) -> bool:
        """Whether the recogniser has heard all that was said, and was not sure of it."""
        return self._heard and not self._went_on and not self._clear

    def frame(self, level: float, voiced: bool) -> Literal["quiet", "went_on"] | None:
        """The level of the next frame (32 ms), in dB below full scale, and whether the voice detector hears a voice."""
        self._peak = max(level, self._peak - _FORGOTTEN_DB)
        if level < self._peak - (_GOES_ON_DB if self._quiet else _QUIET_DB):
            self._quiet += 1
            return "quiet" if self._quiet == _FRAMES_TO_ASK else None
        if self._quiet and voiced:
            self._quiet, self._went_on = 0, True
            return "went_on"
        return None

    def ask(self) -> int:
        """The recogniser is asked for the words so far; gives the number of the attempt."""
        self._attempt += 1
        self._heard = self._went_on = False
        return self._attempt

    def resumed(self) -> None:
        """A voice detector heard the caller go on, if too softly for `frame`."""
        self._went_on = True

    def heard(self, attempt: int, words: str, sure: bool) -> str:
        """The recogniser's answer, without words where it has none.

        Gives what the client can be told now: words that it heard twice running.
        """
        self._heard = attempt == self._attempt
        before, now = self._words.split(), words.split()
        self._words, self._clear = words, sure
        agreed = _agreeing(before, now)
        # There has been speech since, and all words before it, but for the last, were whole: a recogniser that has
        # nothing to add, or changes its mind, is at a loss.
        self._sure = sure and len(before) - 1 <= agreed < len(now)
        if agreed <= len(self._told) or _agreeing(self._told, now) < len(self._told):
            return ""
        new = now[len(self._told) : agreed]
        delta = (" " if self._told else "") + " ".join(new)
        self._told += new
        return delta

    def untold(self, transcript: str) -> str:
        """What the client has not been told of all the words; none where they are not those that it has been told."""
        words = list(re.finditer(r"\s*\S+", transcript))
        if _agreeing(self._told, [word[0] for word in words]) < len(self._told):
            return ""
        return transcript[words[len(self._told) - 1].end() :] if self._told else transcript


def _agreeing(some: list[str], others: list[str]) -> int:
    """How many words both begin with."""
    agree = (folded(one) == folded(other) for one, other in zip(some, others, strict=False))
    return next((count for count, same in enumerate(agree) if not same), min(len(some), len(others)))
