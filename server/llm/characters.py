"""Puts characters together again that a stream cut in two.

Pure. Models write tokens and not characters, so one of them may end inside a character: a server then sends half of a
surrogate pair as JSON, or some bytes of its UTF-8.
"""

import re

_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_RAW_BYTES = re.compile("[\udc80-\udcff]+")  # bytes that are no UTF-8, as Python's "surrogateescape" keeps them
_SURROGATES = re.compile("[\ud800-\udfff]+")
_CUT = re.compile(
    "(?:[\ud800-\udbff]|[\udc80-\udcff]{1,3})\\Z"
)  # what may be half a character; 4 bytes are a whole one


class CharacterJoiner:
    """Takes texts in which a character may be cut, each with its halves as surrogates; gives whole characters."""

    def __init__(self) -> None:
        self._held = ""

    def push(self, text: str) -> str:
        """What is whole of all that came so far and was not given yet."""
        text = self._held + text
        if not _SURROGATES.search(text):
            self._held = ""
            return text
        text = _RAW_BYTES.sub(_decoded, _PAIR.sub(_paired, text))
        cut = _CUT.search(text)
        self._held = cut[0] if cut else ""
        return _without_halves(text[: cut.start()] if cut else text)

    def flush(self) -> str:
        """What is left when no more comes: a half that has lost its other half is one replacement character."""
        held, self._held = self._held, ""
        return _without_halves(held)


def _paired(pair: re.Match[str]) -> str:
    return pair[0].encode("utf-16", "surrogatepass").decode("utf-16")


def _decoded(raw: re.Match[str]) -> str:
    return raw[0].encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def _without_halves(text: str) -> str:
    return _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", text)
