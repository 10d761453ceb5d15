"""The caller's audio and where the utterances in it lie.

Pure. Holds what has not been committed yet, at 16 kHz, with a bound; finds utterances by endpointing when turn
detection is on. Times are seconds on the caller's own audio clock.
"""

from server.conversation.endpointing import Endpoint, Endpointer, Stopped, TurnDetection

SAMPLE_RATE = 16_000
_BYTES_PER_SECOND = 2 * SAMPLE_RATE
_THRESHOLD = 0.5  # where the client says none
# The longest uncommitted audio that is kept; older audio is dropped first. No one speaks longer without a pause.
MAX_SECONDS = 300


class Listener:
    """A caller's audio buffer. Audio is 16-bit little-endian mono PCM at 16 kHz."""

    def __init__(self, turn_detection: TurnDetection | None) -> None:
        self._held = bytearray()
        self._dropped = 0  # bytes that came before those held
        self.endpointer = Endpointer(turn_detection) if turn_detection else None

    def configure(self, turn_detection: TurnDetection | None) -> None:
        """Take new turn detection settings; an open utterance stays open only if nothing changed."""
        if (self.endpointer and self.endpointer.settings) != turn_detection:
            self.endpointer = Endpointer(turn_detection) if turn_detection else None

    @property
    def speaking(self) -> bool:
        """Whether the caller is in the middle of an utterance."""
        return self.endpointer is not None and self.endpointer.speaking

    @property
    def buffered(self) -> float:
        """Seconds of audio that are held."""
        return len(self._held) / _BYTES_PER_SECOND

    def append(self, pcm: bytes) -> None:
        """The caller's next audio."""
        self._held += pcm
        self._drop(len(self._held) - MAX_SECONDS * _BYTES_PER_SECOND)

    def push(self, start: float, end: float, probability: float, near: bool = True) -> Endpoint | None:
        """The voice-activity probability of the stretch from `start` to `end`, as in `Endpointer.push`."""
        if self.endpointer is None or self._offset(start) < 0:  # judged late: committed by hand or cleared meanwhile
            return None
        endpoint = self.endpointer.push(start, end, probability, near)
        if endpoint is None and not self.speaking:
            self.drop_before(end - self.endpointer.settings.prefix_padding - 1.0)
        return endpoint

    def stop(self, end: float) -> Stopped:
        """The open utterance is over: no more audio comes after `end`."""
        assert self.endpointer is not None, "what is open was found by endpointing"
        return self.endpointer.stop(end)

    def is_voice(self, probability: float) -> bool:
        """Whether a frame of that probability is taken for voice."""
        return probability >= (self.endpointer.settings.threshold if self.endpointer else _THRESHOLD)

    def holds_by_hand(self, time: float) -> bool:
        """Whether the client commits, and what came at `time` is not committed yet."""
        return self.endpointer is None and self._offset(time) >= 0

    def wait_for(self, silence: float) -> None:
        """In this pause, so many seconds of silence end the utterance."""
        assert self.endpointer is not None, "pauses are found by endpointing"
        self.endpointer.patience = silence

    def audio(self, start: float, end: float) -> bytes:
        """The audio between two times, as far as it is held."""
        return bytes(self._held[max(0, self._offset(start)) : max(0, self._offset(end))])

    def take_all(self) -> bytes:
        """Everything that is held; an open utterance is over with it."""
        whole = bytes(self._held)
        self.clear()
        return whole

    def clear(self) -> None:
        """Drop everything that is held, and an open utterance with it."""
        self._drop(len(self._held))
        if self.endpointer:
            self.endpointer.reset()

    def drop_before(self, time: float) -> None:
        """What was said before `time` is not needed any more."""
        self._drop(self._offset(time))

    def _drop(self, size: int) -> None:
        size = max(0, min(size, len(self._held)))
        del self._held[:size]
        self._dropped += size

    def _offset(self, time: float) -> int:
        return 2 * round(time * SAMPLE_RATE) - self._dropped
