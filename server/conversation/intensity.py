"""How far a voice has fallen at the end of what it has said so far: speakers end a turn more softly than they go on.

Pure. Source of the cue: Gravano and Hirschberg, "Turn-taking cues in task-oriented dialogue", Computer Speech and
Language 25 (2011); measured here over the last syllable. It needs no model, and so holds under any load.
"""

import math
from collections import deque

# Softer frames than this, beside the loudest, are the room's: a voice detector hears a voice for 0.1 s after its end.
_AUDIBLE_DB = 20.0
# How fast the loudest frame is forgotten (dB a frame): a caller may lower their voice.
_FORGOTTEN_DB = 0.1
_FLOOR_DB = -96.0
_LAST_FRAMES = 6  # 0.2 s: a syllable
_FEWEST_FRAMES = 16  # half a second: of less, the last syllable is most


class Intensity:
    """The levels of one turn's voice, frame by frame (32 ms), in dB below full scale."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Another turn begins."""
        self._loudest = _FLOOR_DB
        self._power, self._frames = 0.0, 0
        self._last: deque[float] = deque(maxlen=_LAST_FRAMES)

    def frame(self, level: float) -> None:
        """The next frame in which the voice detector hears the caller."""
        if level - _AUDIBLE_DB > self._loudest:  # what was heard so far was not the caller
            self.clear()
        self._loudest = max(level, self._loudest - _FORGOTTEN_DB)
        if level < self._loudest - _AUDIBLE_DB:
            return
        power = 10 ** (level / 10)
        self._power += power
        self._frames += 1
        self._last.append(power)

    @property
    def fall(self) -> float | None:
        """By how many dB the last syllable is below the mean of the turn; None: too little was said."""
        if self._frames < _FEWEST_FRAMES:
            return None
        return 10 * math.log10(self._power / self._frames / (sum(self._last) / len(self._last)))
