"""What a caller has said that no ticket knows of yet: it is said again where their call goes on.

Pure. Milliseconds are of the audio sent on the present connection, as the node's events count them.
"""

from collections import deque
from typing import Any

_UNANNOUNCED_MS = 500.0  # a node takes about half as long to find out that somebody speaks
_MOST_MS = 30_000.0
_WORDS_KNOWN = [f"conversation.item.input_audio_transcription.{how}" for how in ("completed", "failed")]


class Unheard:
    """The audio since the beginning of the first turn whose words are not known; without one the last half second.

    Words are known from their transcription: in a session without, it is the last half second always. What has had an
    answer must not be said twice.
    """

    def __init__(self) -> None:
        self._messages: deque[tuple[str | bytes, float]] = deque()
        self._forgotten = 0.0  # from the beginning
        self._sent = 0.0
        self._tells_words = False
        self._begun: list[float] = []  # turns whose words are not known
        self._ended = 0.0  # the last turn that did
        self._known = 0.0  # by the next ticket

    def say(self, message: str | bytes, ms: float) -> None:
        """A message with so much audio is sent."""
        self._messages.append((message, ms))
        self._sent += ms
        self._forget(max(self._sent - _MOST_MS, min([self._sent - _UNANNOUNCED_MS, *self._begun])))

    def note(self, event: dict[str, Any]) -> None:
        """An event of the node's."""
        match event:
            case {"type": "session.updated", "session": {"audio": {"input": {"transcription": transcription}}}}:
                self._tells_words = transcription is not None
            case {"type": "input_audio_buffer.speech_started", "audio_start_ms": begun} if self._tells_words:
                self._begun.append(begun)
            case {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": ended}:
                self._ended = ended
            case {"type": str(kind)} if kind in _WORDS_KNOWN:
                self._known = self._ended
                self._begun = [begun for begun in self._begun if begun >= self._known]
            case {"type": "x_session.ticket" | "x_session.move"}:
                self._forget(self._known)

    @property
    def ms(self) -> float:
        """How much audio is said again, if the connection is lost now."""
        return self._sent - self._forgotten

    def again(self) -> list[str | bytes]:
        """The messages to begin another connection with."""
        self._begun = [0.0] if self._begun else []
        self._sent -= self._forgotten
        self._forgotten = self._ended = self._known = 0.0
        return [message for message, _ in self._messages]

    def _forget(self, until: float) -> None:
        while self._messages and self._forgotten + self._messages[0][1] <= until:
            self._forgotten += self._messages.popleft()[1]
