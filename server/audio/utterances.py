"""Cuts a recording into utterances at its silences, by how likely there is a voice in each frame.

Pure. A recording has nobody who waits for an answer, unlike a call: so utterances are long, which recognisers do better
and cheaper, and silence between them is left out.
"""

from collections import deque
from dataclasses import dataclass

FRAME_SECONDS = 0.032
"""Of a frame, which is one of the voice activity detection's."""

LONGEST_SECONDS = 28.0
"""Of an utterance: what Whisper takes in one window."""

_VOICE = 0.5  # probability from which on a frame is speech
_LONG_SECONDS = 10.0  # from here on an utterance ends at a short silence, before only at a long one
_LONG_SILENCE_SECONDS, _SHORT_SILENCE_SECONDS = 2.0, 0.5
_MARGIN_FRAMES = 10  # of silence kept on either side of speech: words begin and end softly
_LATEST_CUT_SECONDS = 5.0  # the part of an utterance that is too long in which the best place to cut is looked for


@dataclass(frozen=True, slots=True)
class Utterance:
    """Speech in a recording, from `start` to `end` (seconds), as the frames' PCM."""

    start: float
    end: float
    pcm: bytes


class UtteranceCutter:
    """Cuts one recording, frame by frame."""

    def __init__(self) -> None:
        self._frames: deque[tuple[bytes, float]] = deque()  # of the utterance, or the margin before it
        self._next = 0  # number of the next frame of the recording
        self._silence: int | None = None  # frames since the last speech of the utterance; None: it has not begun

    def push(self, pcm: bytes, probability: float) -> Utterance | None:
        """The utterance that ends now, with a frame of so likely speech."""
        self._frames.append((pcm, probability))
        self._next += 1
        if probability >= _VOICE:
            self._silence = 0
        elif self._silence is None:
            if len(self._frames) > _MARGIN_FRAMES:
                self._frames.popleft()
        else:
            self._silence += 1
        if self._silence is None:
            return None
        seconds, silence = len(self._frames) * FRAME_SECONDS, self._silence * FRAME_SECONDS
        if silence >= (_LONG_SILENCE_SECONDS if seconds < _LONG_SECONDS else _SHORT_SILENCE_SECONDS):
            return self._end_in_silence()
        if seconds >= LONGEST_SECONDS:
            return self._cut_in_speech()
        return None

    def finish(self) -> Utterance | None:
        """The last utterance: the recording has ended."""
        return None if self._silence is None else self._end_in_silence()

    def _end_in_silence(self) -> Utterance:
        assert self._silence is not None
        surplus = max(0, self._silence - _MARGIN_FRAMES)
        utterance = self._take(len(self._frames) - surplus)
        self._silence = None
        while len(self._frames) > _MARGIN_FRAMES:
            self._frames.popleft()
        return utterance

    def _cut_in_speech(self) -> Utterance:
        """End it at the frame of its last seconds that is least likely speech."""
        first = len(self._frames) - round(_LATEST_CUT_SECONDS / FRAME_SECONDS)
        probabilities = [probability for _, probability in self._frames]
        quietest = min(range(first, len(probabilities)), key=lambda at: probabilities[at])
        utterance = self._take(quietest + 1)
        if not any(probability >= _VOICE for _, probability in self._frames):
            self._silence = None
        return utterance

    def _take(self, count: int) -> Utterance:
        """The first `count` frames that are held."""
        start = self._next - len(self._frames)
        pcm = b"".join(self._frames.popleft()[0] for _ in range(count))
        return Utterance(round(start * FRAME_SECONDS, 3), round((start + count) * FRAME_SECONDS, 3), pcm)
