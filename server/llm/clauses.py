"""Cuts a model's streamed text into clauses that can be spoken, each as soon as it is certain.

Pure. It decides where to breathe and takes the markdown out; it never changes, adds or reorders words. Where the
deltas were cut makes no difference: a boundary is decided by the text before it and the first character after it.
"""

import re

from server.llm.markdown import spoken, without_block_marker

# The first clause is short, so that the caller soon hears a voice; the voice is then ahead of the model.
_FIRST_WORDS_AT_MARK = 3  # ends at a comma or the like from so many words on
_FIRST_WORDS_AT_JOINT = 6  # from here on also before a word such as "and"
_FIRST_WORDS = 10  # and from here on between any two words that may be parted
_LONG = 200  # characters after which a sentence without an end is cut at its last comma

_OPENERS = "\"'“‘«([{*_`~<¡¿"  # noqa: RUF001  # quotes and markers that stand before a sentence
_CLOSERS = "\"'”’»)]}*_`~>」』）】"  # noqa: RUF001  # and those that stand after its full stop
_ENDS = (".", "!", "?", "…", "؟", "۔", "।")  # noqa: RUF001  # of Latin, Arabic, Urdu and Hindi
_MARKS = (",", ";", ":", "،", "؛", "—", "–")  # noqa: RUF001
_WIDE_ENDS = ("。", "！", "？", "｡")  # noqa: RUF001  # of Chinese and Japanese, which put no space after them
_WIDE_MARKS = ("、", "，", "；", "：")  # noqa: RUF001

_BOUNDARY = re.compile(
    rf"""(?P<line>[^\S\n]*+\n)
       | (?P<gap>[^\S\n]++)(?=[{re.escape(_OPENERS)}]*+(?P<next>[^{re.escape(_OPENERS)}]))
       | (?P<wide>[{"".join(_WIDE_ENDS + _WIDE_MARKS)}]++[{re.escape(_CLOSERS)}]*+)(?=.)""",
    re.VERBOSE | re.DOTALL,
)
_OPEN_LINK = re.compile(r"\[[^\]]{0,200}\Z|\]\([^)]{0,300}\Z")
_HAN_OR_KANA = r"\u3040-\u30ff\u3400-\u9fff"
_WORD = re.compile(rf"[{_HAN_OR_KANA}]{{1,2}}|[^\W_{_HAN_OR_KANA}]+(?:['.,:/@-]+[^\W_{_HAN_OR_KANA}]+)*")

_ABBREVIATION = re.compile(
    r"(?:[^\W\d_]\.)+|(?:[^\W\d_]{1,2}\.){2,}"  # initials, U.S., e.g., p.m., Ph.D.
    r"|\d{1,2}\."  # ordinals: "1. Open the door 2. Go in", "am 3. Oktober"
    r"|(?:dr|mr|mrs|ms|mx|prof|st|ste|mt|ft|gen|col|lt|sgt|capt|cmdr|adm|gov|sen|rep|rev|hon|pres|jr|sr|messrs"
    r"|vs|etc|approx|dept|est|inc|ltd|co|corp|bros|univ|ave|blvd|rd|hwy|apt|bldg|al|ca|cf|viz|resp)\.",
    re.IGNORECASE,
)
_BEFORE_NUMBER = re.compile(
    r"(?:nos?|nr|figs?|vols?|pp|ch|sec|art|eq|ext|tel|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)\.", re.IGNORECASE
)
_JOINT = re.compile(
    r"and|but|or|so|because|although|though|while|when|where|which|who|that|if|unless|until|than|then|as"
    r"|with|without|for|from|to|in|on|at|by|about|into|over|under|after|before|during|between",
    re.IGNORECASE,
)
_CLINGS_TO_NEXT = re.compile(
    rf"{_JOINT.pattern}|an?|the|this|these|those|my|your|his|her|its|our|their|of|no|not|very|i|we|you|he|she|it|they"
    r"|is|are|was|were|be|been|can|could|will|would|shall|should|may|might|must|do|does|did|has|have|had",
    re.IGNORECASE,
)


class ClauseCutter:
    """Cuts one answer. Each clause is plain text with at least one letter or digit."""

    def __init__(self) -> None:
        self._text = ""
        self._is_first = True
        self._begins_line = True
        self._item = 0
        self._word_at = 0  # where the word begins whose end is looked for
        self._joint: tuple[int, int] | None = None  # the gap before that word, if the clause may be cut there
        self._breath: tuple[int, int] | None = None  # where the clause is cut if it becomes too long
        self._breath_is_mark = False

    def push(self, delta: str) -> list[str]:
        """The clauses that are certain now that `delta` has come."""
        self._text += delta
        clauses = []
        while boundary := _BOUNDARY.search(self._text, self._word_at):
            if (cut := self._decide(boundary)) is None:
                self._word_at = boundary.end()
            elif clause := self._take(*cut, ends_line=boundary["line"] is not None):
                clauses.append(clause)
        return clauses

    def flush(self) -> list[str]:
        """The rest: the answer has ended."""
        return self.push("\n")

    def _take(self, end: int, rest: int, ends_line: bool) -> str:
        """Cut the text at `end` and go on at `rest`."""
        raw, self._text = self._text[:end], self._text[rest:]
        if self._begins_line:
            raw, self._item = without_block_marker(raw, self._item)
        self._begins_line = ends_line
        self._word_at, self._joint, self._breath, self._breath_is_mark = 0, None, None, False
        clause = spoken(raw)
        self._is_first = self._is_first and not clause
        return clause

    def _decide(self, boundary: re.Match[str]) -> tuple[int, int] | None:
        """Where to cut, now that `boundary` has been reached: the clause's end and where the next begins."""
        if boundary["line"] is not None:
            return boundary.span()
        is_wide = boundary["wide"] is not None
        here = (boundary.end(), boundary.end()) if is_wide else boundary.span()
        head, following = self._text[: here[0]], boundary["next"] or ""
        if "[" in head and _OPEN_LINK.search(head):
            return None
        word = head[self._word_at :].lstrip(_OPENERS).rstrip(_CLOSERS)
        if _ends_sentence(word, following):
            return here
        is_mark = word == "-" or word.endswith(_MARKS + _WIDE_MARKS)
        is_mark = is_mark and not (word[-2:-1].isdigit() and following.isdigit())
        may_part = is_mark or (not is_wide and _may_part(word, following))
        if self._is_first and (cut := self._end_of_first(head, word, here, is_mark, may_part)):
            return cut
        if is_mark or (may_part and not self._breath_is_mark):
            self._breath, self._breath_is_mark = here, is_mark
        self._joint = here if may_part else None
        return self._breath if len(head) > _LONG else None

    def _end_of_first(
        self, head: str, word: str, here: tuple[int, int], is_mark: bool, may_part: bool
    ) -> tuple[int, int] | None:
        words = len(_WORD.findall(head))
        if is_mark and words >= _FIRST_WORDS_AT_MARK:
            return here
        if words > _FIRST_WORDS_AT_JOINT and _JOINT.fullmatch(word):
            return self._joint
        return here if may_part and words >= _FIRST_WORDS else None


def _ends_sentence(word: str, following: str) -> bool:
    """Whether a sentence ends with `word`, of which `following` is the next character that is no opening mark.

    A sentence does not begin with a small letter; a full stop after an abbreviation or a small number ends none.
    """
    if word.endswith(_WIDE_ENDS):
        return True
    if not word.endswith(_ENDS) or following.islower():
        return False
    return not _is_abbreviation(word, following)


def _is_abbreviation(word: str, following: str) -> bool:
    return bool(_ABBREVIATION.fullmatch(word) or (following.isdigit() and _BEFORE_NUMBER.fullmatch(word)))


def _may_part(word: str, following: str) -> bool:
    """Whether two words without a mark between them may be spoken apart: not "7 p.m.", "Dr. Ray" or "the sea"."""
    if following.isdigit() or any(map(str.isdigit, word)) or _CLINGS_TO_NEXT.fullmatch(word):
        return False
    return not _is_abbreviation(word, following)
