"""Lets through of a model's streamed text only what is for the caller, wherever the stream was cut.

Pure, and the one place for it: ahead of the clause cutter, for every provider. `server.llm.marks` knows the marks.
"""

import re

from server.llm.marks import LONGEST_END, STARTS, Undecided, find_mark

_BEFORE = 16  # characters before a mark that can tell what it is
_MOST_BLANKS = 100  # that are held back: a line of more is let through, though what follows it may go
_NEEDS_NO_BLANK = re.compile(r"[\s.,;:!?)\]]")


class OutputFilter:
    """Filters one answer. A character is held back only as long as what begins with it may be a mark."""

    def __init__(self, markup: bool = True) -> None:
        """With `markup`, tags, entities, citations and formulas go too; without, only what is never for anyone."""
        self._markup = markup
        self._text = ""
        self._before = ""
        self._blanks = ""  # not passed on yet: they go if what follows them does
        self._left_out = False
        self._hidden_until: re.Pattern[str] | None = None
        self._passed: list[str] = []
        self.takes_back = False
        """Whether all that was let through so far was a thought: its end has come, its beginning was not written."""

    def push(self, delta: str) -> str:
        """What is certain now that `delta` has come."""
        self._text += delta
        return self._let_through(final=False)

    def flush(self) -> str:
        """The rest: the answer has ended."""
        return self._let_through(final=True) + self._blanks

    def restart(self) -> str:
        """The rest: another model goes on from here, and closes no mark that this one has left open."""
        rest = self.flush()
        self._blanks, self._text, self._hidden_until = "", "", None
        return rest

    def _let_through(self, final: bool) -> str:
        self._passed, self.takes_back = [], False
        at = 0
        while at < len(self._text):
            if self._hidden_until is not None:
                end = self._hidden_until.search(self._text, at)
                if end is None:
                    at = max(at, len(self._text) - LONGEST_END)  # half of it may be there already
                    break
                at, self._hidden_until = end.end(), None
                continue
            start = STARTS.search(self._text, at)
            self._pass(self._text[at : start.start() if start else len(self._text)])
            at = start.start() if start else len(self._text)
            if start is None:
                break
            mark = find_mark(self._text, at, self._before + self._blanks, self._markup, final)
            if isinstance(mark, Undecided):
                break
            if mark is None:
                self._pass(self._text[at])
                at += 1
                continue
            if mark.ends_thought and self._before:
                self._passed, self._before, self._blanks, self.takes_back = [], "", "", True
            self._left_out = not mark.text
            self._pass(mark.text)
            at, self._hidden_until = at + mark.length, mark.hides_until
        self._text = self._text[at:]
        return "".join(self._passed)

    def _pass(self, text: str) -> None:
        if not text:
            return
        if self._left_out and _NEEDS_NO_BLANK.match(text):
            self._blanks = ""
        self._left_out = False
        text = self._blanks + text
        if not self._before:
            text = text.lstrip()  # what stood before it was hidden
        kept = len(text.rstrip())
        kept = max(text.rfind("\n", kept) + 1, kept, len(text) - _MOST_BLANKS)
        self._blanks = text[kept:]
        if passed := text[:kept]:
            self._before = (self._before + passed)[-_BEFORE:]
            self._passed.append(passed)
