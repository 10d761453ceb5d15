"""The assistant's own words, as they come back through the caller's microphone.

Pure. There is no canceller for that echo, but its words are known. A recogniser errs in an echo, and in fragments above
all, so words need only be alike.
"""

from collections.abc import Sequence
from difflib import SequenceMatcher

# Letters in common of two spellings of one word ("hours", "ours"); words of three letters have to be the same.
_ALIKE = 0.75
_SHORTEST_LIKE = 4
# Of an echo's words, so many are at least understood right.
_UNDERSTOOD = 0.7


def is_echo(heard: Sequence[str], played: Sequence[str], whole: bool) -> bool:
    """Whether the words `heard` are the `played` ones, which the assistant says at that time.

    Unless `whole`, the last word may be cut, and says nothing where it is not alone.
    """
    own = [not _is_among(word, played) for word in heard]
    if not whole and len(own) > 1 and own[-1]:
        own.pop()
    return bool(own) and own.count(False) >= _UNDERSTOOD * len(own)


def _is_among(word: str, played: Sequence[str]) -> bool:
    if word in played:
        return True
    return len(word) >= _SHORTEST_LIKE and any(
        SequenceMatcher(None, word, other).ratio() >= _ALIKE for other in played if len(other) >= _SHORTEST_LIKE
    )
