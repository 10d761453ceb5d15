"""How far a voice has fallen at the end of what it has said so far: speakers end a turn more softly than they go on.

Pure. Source of the cue: Gravano and Hirschberg, "Turn-taking cues in task-oriented dialogue", Computer Speech and
Language 25 (2011); measured here over the last syllable. It needs no model, and so holds under any load.
"""

import math
from collections import deque

# Softer frames than this, beside the loudest, are the room's: a voice detector hears a voice for 0.1 s after its end.
_AUDIBLE_DB = 20.0
# And so are those that are hardly louder than the room was. Its level may rise so fast (dB a frame). Where it leaves
# the voice no more than the range, a fall would not be heard.
_ABOVE_ROOM_DB, _RISE_DB = 8.0, 0.05
_RANGE_DB = 12.0
# How fast the loudest frame is forgotten (dB a frame): a caller may lower their voice.
_FORGOTTEN_DB = 0.1
_FLOOR_DB = -96.0
_LAST_FRAMES = 6  # 0.2 s: a syllable
_FEWEST_FRAMES = 16  # half a second: of less, the last syllable is most


class Intensity:
    """The levels of a call's frames (32 ms), in dB below full scale, and of the voice in one turn."""

    def __init__(self) -> None:
        self._room = -math.inf  # not known, and taken to be quiet, before there is no voice in a frame
        self.clear()

    def clear(self) -> None:
        """Another turn begins."""
        self._loudest = _FLOOR_DB
        self._power, self._frames = 0.0, 0
        self._last: deque[float] = deque(maxlen=_LAST_FRAMES)

    def frame(self, level: float, voiced: bool) -> None:
        """The next frame, and whether the voice detector hears the caller in it."""
        known = math.isfinite(self._room) or voiced
        self._room = min(level, self._room + _RISE_DB) if known else level
        if not voiced:
            return
        if level - _AUDIBLE_DB > self._loudest:  # what was heard so far was not the caller
            self.clear()
        self._loudest = max(level, self._loudest - _FORGOTTEN_DB)
        if level < max(self._loudest - _AUDIBLE_DB, self._room + _ABOVE_ROOM_DB):
            return
        power = 10 ** (level / 10)
        self._power += power
        self._frames += 1
        self._last.append(power)

    @property
    def fall(self) -> float | None:
        """By how many dB the last syllable is below the mean of the turn; None: too little was said, or in noise."""
        in_noise = self._loudest < self._room + _ABOVE_ROOM_DB + _RANGE_DB
        if self._frames < _FEWEST_FRAMES or in_noise:
            return None
        return 10 * math.log10(self._power / self._frames / (sum(self._last) / len(self._last)))
