"""Whether the language model is asked on the chance that the caller's turn is over.

Pure. It decides and processes nothing. The model is asked once for the same words, and only a few times in a turn on
the word of an early pass: each time costs a request.
"""

from dataclasses import dataclass

from server.conversation.turn_words import folded

_EARLY_AT_MOST = 4


@dataclass(frozen=True, slots=True)
class LikelyTurn:
    """What may be all of a turn, which becomes the item `item_id`; `early`: its end has not been judged yet."""

    item_id: str
    words: str
    early: bool


class SpeculationGate:
    """What was asked for ahead, and whether more is to be."""

    def __init__(self) -> None:
        self._item_id = ""
        self._words = ""
        self._early = 0

    def opens(self, turn: LikelyTurn) -> bool:
        """Whether the model is to be asked for an answer to `turn`, as it then is."""
        if turn.item_id != self._item_id:
            self._item_id, self._words, self._early = turn.item_id, "", 0
        words = folded(turn.words)
        if words == self._words or (turn.early and self._early == _EARLY_AT_MOST):
            return False
        self._words = words
        self._early += turn.early
        return True

    def went_on(self) -> None:
        """The caller went on speaking, and what was asked for is thrown away."""
        self._words = ""
