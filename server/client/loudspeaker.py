"""What a person still has to hear of the answers, and how much of each they have heard.

It does no I/O. Its two sides are on two threads: a call fills it, a sound device empties it.
"""

import threading
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Spoken:
    item_id: str
    unplayed: bytearray = field(default_factory=bytearray)
    played: int = 0


class Loudspeaker:
    """Plays 16-bit audio of `rate` Hz, one item after the other."""

    def __init__(self, rate: int) -> None:
        self._bytes_per_ms = 2 * rate / 1000
        self._items: list[_Spoken] = []
        self._lock = threading.Lock()

    def add(self, item_id: str, audio: bytes) -> None:
        """More of an item has come."""
        with self._lock:
            if not self._items or self._items[-1].item_id != item_id:
                self._items.append(_Spoken(item_id))
            self._items[-1].unplayed += audio

    def take(self, size: int) -> bytes:
        """The next bytes to be played, silence where there are none."""
        audio = bytearray()
        with self._lock:
            while self._items and len(audio) < size:
                item = self._items[0]
                part = item.unplayed[: size - len(audio)]
                del item.unplayed[: len(part)]
                item.played += len(part)
                audio += part
                if item.unplayed or len(self._items) == 1:
                    break
                self._items.pop(0)
        return bytes(audio).ljust(size, b"\0")

    def stop(self) -> list[tuple[str, int]]:
        """Drop what has not been played; gives each item that is cut by it, and how many ms of it were heard."""
        with self._lock:
            cut = [(item.item_id, int(item.played / self._bytes_per_ms)) for item in self._items if item.unplayed]
            self._items.clear()
        return cut
