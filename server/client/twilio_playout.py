"""What Twilio does with what it is sent on a Media Stream: it plays audio in real time, and sends marks back.

Pure. `now` is monotonic seconds. A `clear` drops what has not been played, and brings the marks in it back at once.
"""

from base64 import b64decode
from collections import deque
from typing import Any

_BYTES_PER_SECOND = 8000


class TwilioPlayout:
    """One stream's. Audio is mu-law, a mark is its name; `played` came back in their time, `cleared` did unplayed."""

    def __init__(self) -> None:
        self.played: list[str] = []
        self.cleared: list[str] = []
        self.ends_at = 0.0
        """When what is being played is over."""
        self._waiting: deque[tuple[float, bytes | str]] = deque()  # with when it came

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be played."""
        return not self._waiting

    def take(self, message: dict[str, Any], now: float) -> list[str]:
        """A message of the server's; gives the marks that come back at once. Raises `KeyError` or `ValueError`."""
        match message["event"]:
            case "media":
                self._waiting.append((now, b64decode(message["media"]["payload"], validate=True)))
            case "mark":
                self._waiting.append((now, str(message["mark"]["name"])))
            case "clear":
                dropped = [name for _, name in self._waiting if isinstance(name, str)]
                self._waiting.clear()
                self.ends_at = min(self.ends_at, now)
                self.cleared += dropped
                return dropped
            case event:
                raise ValueError(f"got {event!r}; Twilio takes media, mark and clear")
        return []

    def play(self, now: float) -> list[bytes | str]:
        """Play until `now`: the audio that is begun, and the marks that come back between it, in their order."""
        played: list[bytes | str] = []
        while self._waiting and self.ends_at <= now:
            came, what = self._waiting.popleft()
            if isinstance(what, bytes):
                self.ends_at = max(self.ends_at, came) + len(what) / _BYTES_PER_SECOND
            else:
                self.played.append(what)
            played.append(what)
        return played
