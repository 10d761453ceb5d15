"""Whether a voice is near: the caller's own, or that of a television or a colleague behind them. By its level alone.

Pure. Nothing is known of a caller who has not spoken yet, and every voice is near. Within a turn it is compared with
the turn's own loudest sounds, so that who speaks softly, or ever more softly, is heard to the end; between turns with
the level of the caller's last turns.
"""

import math

# A voice so far below another (dB) is not the same person's. People drop by 10 dB and more at the end of a sentence;
# others in the room are some 20 below.
NEARNESS_DB = 18.0
# How fast the loudest sound of a turn is forgotten (dB in a frame of near voice): a caller may lower their voice.
_FORGOTTEN_DB = 0.1
_FLOOR_DB = -96.0
# A caller who has moved away from the telephone would never be heard again. After so much silence in which nobody near
# took their turn (seconds, without those in which the assistant speaks), any voice is taken for theirs.
_TRUSTED_SECONDS = 15.0
# Of what follows the caller's last near sound, so much is taken for the end of their word where another voice goes on.
_WORD_END_SECONDS = 0.2


class Nearness:
    """Of the voices on one call. Levels are those of single frames, in dB below full scale."""

    def __init__(self) -> None:
        self._loudest = _FLOOR_DB
        self._near_end = 0.0
        self._unheard = 0.0
        self.covered_from = math.inf
        """Where the caller's own speech ends in the turn that is open, if only a voice from afar is heard just now."""

    def begin(self) -> None:
        """A turn begins, or nobody asks any more."""
        self._loudest = _FLOOR_DB
        self.covered_from = math.inf

    def starts(self, seconds: float, level: float, usual: float | None) -> bool:
        """Whether a frame that lasts so many `seconds` may belong to a new turn of a caller who is `usual` dB loud.

        `usual` None: that is not known.
        """
        self._unheard += seconds
        return usual is None or self._unheard > _TRUSTED_SECONDS or level >= usual - NEARNESS_DB

    def goes_on(self, end: float, level: float, voiced: bool) -> bool:
        """Whether the frame that lasts until `end` may belong to the turn that has begun."""
        near = level >= self._loudest - NEARNESS_DB
        if near and voiced:
            self._loudest = max(level, self._loudest - _FORGOTTEN_DB)
            self._near_end = end
            self._unheard = 0.0
        self.covered_from = math.inf if near or not voiced else self._near_end + _WORD_END_SECONDS
        return near
