"""The marks that a stream has been sent, one behind each clause, and what their coming back says of what was heard.

Pure. Twilio sends a mark back when all audio before it has been played. So the playback is set right by each one, and
held while one is late: no clause counts as heard before its mark is back. After a `clear` Twilio sends back those that
are left, whose audio nobody heard; they say nothing.
"""

from collections import deque
from dataclasses import dataclass

from server.conversation.playback import Playback

# Twilio sends a message every 20 ms; a network that bunches them must not let a late mark's clause pass for heard.
_HELD_SECONDS = 0.06
# Who has not sent a mark back so long after its time never will. Then the clock alone says what was heard.
_GIVEN_UP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Pending:
    name: str
    item_id: str
    clause: int
    asked: float


class Marks:
    """Those of one stream. `now` is monotonic seconds."""

    def __init__(self, playback: Playback) -> None:
        self._playback = playback
        self._pending: deque[_Pending] = deque()
        self._late_since: float | None = None

    def __bool__(self) -> bool:
        """Whether any has still to come back."""
        return bool(self._pending)

    def set(self, item_id: str, clause: int, now: float) -> str:
        """The name of a mark that follows the clause of that number, from 0, of a spoken item."""
        name = f"{item_id}:{clause}"
        self._pending.append(_Pending(name, item_id, clause, now))
        return name

    def came_back(self, name: str, now: float) -> None:
        """Twilio sent the mark back; those set before it have come back too, or are lost."""
        if all(mark.name != name for mark in self._pending):
            return
        while (mark := self._pending.popleft()).name != name:
            pass
        self._late_since = None
        self._playback.confirm(mark.item_id, mark.clause, mark.asked, now)

    def keep_time(self, now: float) -> None:
        """To be called with each of Twilio's messages: what has not come back by now has not been played."""
        if not self._pending:
            return
        mark = self._pending[0]
        if self._playback.hold(mark.item_id, mark.clause, mark.asked, now + _HELD_SECONDS):
            self._late_since = now if self._late_since is None else self._late_since
            if now - self._late_since > _GIVEN_UP_SECONDS:
                self.drop()

    def drop(self) -> None:
        """Those that have not come back say nothing any more."""
        self._pending.clear()
        self._late_since = None
