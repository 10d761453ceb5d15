"""Cuts the silence before and after speech out of a stream, without waiting for the stream's end.

Pure numpy. It never touches a pause between two words, and it changes no audible sample but those that it fades.
"""

import numpy as np
from numpy.typing import NDArray

_FRAME_SECONDS = 0.005
_MARGIN_SECONDS = 0.015  # kept around what is audible: soft consonants fade in and out
# Hiss should go and last consonants stay. In telephone prompts brought to -27 LUFS, as Chatterbox's references are, the
# "t" of a last "exit" is at -51 dBFS with its high half missing; at -45 the ends of vowels go too.
_AUDIBLE_DBFS = -50.0
_HOLD_SECONDS = 0.6  # longer than any pause within a sentence, shorter than what playout can wait


class SilenceTrimmer:
    """Trims one stream. What it returns in all does not depend on how the stream was cut into chunks.

    Quiet audio is held back until something audible follows, and then passed on unchanged, or until the stream ends,
    and then dropped but for a margin. Both ends are faded over 5 ms, so that no click is cut into them. It lags by
    5 ms while there is sound and holds no more than `hold` seconds.
    """

    def __init__(self, sample_rate: int, audible_dbfs: float = _AUDIBLE_DBFS, hold: float = _HOLD_SECONDS) -> None:
        """`audible_dbfs`: the level of 5 ms from which on they are heard, 0 dB being a full-scale constant.

        `hold`: seconds of quiet to hold back at most; of a longer quiet the oldest part is passed on.
        """
        self._frame = round(_FRAME_SECONDS * sample_rate)
        self._margin = round(_MARGIN_SECONDS * sample_rate)
        self._longest = max(self._frame, round(hold * sample_rate))
        self._audible_power = 10.0 ** (audible_dbfs / 10.0)
        self._partial = np.zeros(0, np.float32)  # begins a frame
        self._held = np.zeros(0, np.float32)
        self._quiet = 0  # samples since the last audible frame
        self._has_begun = False

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """The part of the stream, float32 `[m]`, that is certain to be kept now that float32 `[n]` have come."""
        samples = np.concatenate([self._partial, samples])
        whole = len(samples) // self._frame * self._frame
        self._partial = samples[whole:]
        frames = samples[:whole].reshape(-1, self._frame)
        audible = np.flatnonzero(np.mean(frames**2, axis=1) > self._audible_power)
        begin = len(self._held)
        self._held = np.concatenate([self._held, samples[:whole]])
        self._quiet = whole - (int(audible[-1]) + 1) * self._frame if len(audible) else self._quiet + whole
        if not self._has_begun:
            if not len(audible):
                self._held = self._held[-self._margin :]
                return samples[:0]
            self._has_begun = True
            self._held = self._held[max(0, begin + int(audible[0]) * self._frame - self._margin) :]
            self._held[: self._frame] *= np.linspace(0.0, 1.0, self._frame, dtype=np.float32)
        # The last audible frame waits too: should the stream end with it, it is the one to fade.
        certain = len(self._held) - min(self._frame + self._quiet, self._longest)
        kept, self._held = np.split(self._held, [max(0, certain)])
        return kept

    def finish(self) -> NDArray[np.float32]:
        """The rest, float32 `[k]`: the stream has ended. Nothing at all if none of it was audible."""
        if not self._has_begun:
            return self._held[:0]
        rest = np.concatenate([self._held, self._partial])
        audible = max(0, len(self._held) - self._quiet)
        rest = rest[: audible + self._margin]
        fade = min(self._frame, len(rest))
        rest[len(rest) - fade :] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
        return rest
