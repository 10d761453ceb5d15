"""The keys that a caller presses, as text of their turn: "the caller pressed 4, 2, #". Pure."""

# Between two keys of one number people take less.
_PAUSE_SECONDS = 2.0
_END = "#"
_MOST_KEYS = 64


class Keypad:
    """Groups keys: `#` ends a group, and so does a pause. `now` is monotonic seconds."""

    def __init__(self) -> None:
        self._keys: list[str] = []
        self._pressed_at = 0.0

    def press(self, key: str, now: float) -> str:
        """A key is pressed; gives the text of the group that it ends, if it does."""
        self._keys.append(key)
        self._pressed_at = now
        return self._text() if key == _END or len(self._keys) == _MOST_KEYS else ""

    def paused(self, now: float) -> str:
        """The text of the group that is over by now, if one is."""
        return self._text() if self._keys and now - self._pressed_at >= _PAUSE_SECONDS else ""

    def _text(self) -> str:
        keys, self._keys = self._keys, []
        return f"the caller pressed {', '.join(keys)}"
