"""Where an answer that was broken off goes on: with the sample after the last one that was heard.

Pure. The rest of a clause is the same clause in the same rendition, without its beginning.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from server.conversation.commands import GoesOn
from server.thinking import Clause, Rest


@dataclass(slots=True)
class Said:
    """A clause of an answer, and how many seconds of the answer's audio come before its own."""

    clause: Clause
    start: float


def unheard(said: Sequence[Said], goes_on: GoesOn) -> Iterator[Rest]:
    """What was not heard of the clauses that were `said`: the rest of the one where it was broken off, and all others.

    Of the end of a clause whose words were all heard nothing is given: it is a breath.
    """
    before = 0  # characters
    for index, this in enumerate(said):
        text = this.clause.text
        ends = said[index + 1].start if index + 1 < len(said) else float("inf")
        if ends > goes_on.heard:
            heard = max(0.0, goes_on.heard - this.start)
            left = text[max(0, len(goes_on.kept) - before) :].strip() if heard else text
            if left:
                yield Rest(left, this.clause.voiced, this.clause.rendition, this.clause.skipped + heard)
        before += len(text) + 1
