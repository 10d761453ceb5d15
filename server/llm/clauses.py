"""Cuts a model's streamed text into clauses that can be spoken, each as soon as it is certain.

Pure. It decides where to breathe and takes the markdown out; it never changes, adds or reorders words. Where the
deltas were cut makes no difference: a boundary is decided by the text before it and the first character after it.
A clause has a longest length, so the work is linear in that of the answer, whatever the model writes.
"""

import re

from server.llm.markdown import spoken, without_block_marker

# The first clause is short, so that the caller soon hears a voice; the voice is then ahead of the model.
_FIRST_WORDS_AT_MARK = 3  # ends at a comma or the like from so many words on
_FIRST_WORDS_AT_JOINT = 6  # from here on also before a word such as "and"
_FIRST_WORDS = 10  # and from here on between any two words that may be parted
_LONG = 200  # characters after which a sentence without an end is cut at its last comma
_LONGEST = 300  # and after which any text is cut, between two words if it has more than one
_PIECE = 512  # characters of a delta that are taken in one go: no step handles more than a clause and these
_LINK_TEXT, _LINK_ADDRESS = 200, 300  # characters for which the end of a link's text and of its address is waited for
_ADDRESS_END = 8  # characters that are kept of the end of a long web address: it may be a link's end, or a sentence's

# What a voice leaves out at a clause's edges: a breath between sentences, less inside one.
_SENTENCE_PAUSE_SECONDS = 0.2
_CLAUSE_PAUSE_SECONDS = 0.08
_SENTENCE_ENDS = tuple(".!?…。！？")  # noqa: RUF001  # of every script

_OPENERS = "\"'“‘«([{*_`~<¡¿"  # noqa: RUF001  # quotes and markers that stand before a sentence
_CLOSERS = "\"'”’»)]}*_`~>」』）】"  # noqa: RUF001  # and those that stand after its full stop
_ENDS = ".!?…؟۔।"  # noqa: RUF001  # of Latin, Arabic, Urdu and Hindi
_MARKS = ",;:،؛—–"  # noqa: RUF001
_WIDE_ENDS = "。！？｡"  # noqa: RUF001  # of Chinese and Japanese, which put no space after them
_WIDE_MARKS = "、，；："  # noqa: RUF001
_ANY_MARK = _MARKS + _WIDE_MARKS

# Where `next` or `more` is missing the text ends, so that the boundary is not certain yet.
_BOUNDARY = re.compile(
    rf"""(?P<line>[^\S\n]*+\n\s*+)
       | (?P<gap>[^\S\n]++)(?:[{re.escape(_OPENERS)}]{{0,16}}+(?P<next>.))?
       | (?P<wide>[{_WIDE_ENDS + _WIDE_MARKS}]{{1,16}}+[{re.escape(_CLOSERS)}]{{0,16}}+)(?P<more>.)?""",
    re.VERBOSE | re.DOTALL,
)
_BLANKS = re.compile(r"[^\S\n]{2,}")
_ADDRESS = re.compile(r"https?://|www\.")
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
_JOINTS = {
    "and", "but", "or", "so", "because", "although", "though", "while", "when", "where", "which", "who", "that",
    "if", "unless", "until", "than", "then", "as", "with", "without", "for", "from", "to", "in", "on", "at",
    "by", "about", "into", "over", "under", "after", "before", "during", "between",
}  # fmt: skip
_CLING_TO_NEXT = _JOINTS | {
    "a", "an", "the", "this", "these", "those", "my", "your", "his", "her", "its", "our", "their", "of", "no",
    "not", "very", "i", "we", "you", "he", "she", "it", "they", "is", "are", "was", "were", "be", "been", "can",
    "could", "will", "would", "shall", "should", "may", "might", "must", "do", "does", "did", "has", "have",
    "had",
}  # fmt: skip


class ClauseCutter:
    """Cuts one answer. Each clause is plain text with at least one letter or digit."""

    def __init__(self) -> None:
        self._is_first = True
        self._begins_line = True
        self._item = 0
        self._begin("")

    def push(self, delta: str) -> list[str]:
        """The clauses that are certain now that `delta` has come."""
        if len(delta) <= _PIECE:
            return self._push(delta)
        return [clause for at in range(0, len(delta), _PIECE) for clause in self._push(delta[at : at + _PIECE])]

    def flush(self) -> list[str]:
        """The rest: the answer has ended."""
        return self.push("\n")

    def _begin(self, text: str) -> None:
        """A clause begins with `text`."""
        self._text = text
        self._seen = 0  # no boundary begins before this but those that were decided
        self._word_at = 0  # where the word begins whose end is looked for
        self._words = 0  # before that word; counted in the first clause only
        self._gap: tuple[int, int] | None = None  # the boundary before that word
        self._joint: tuple[int, int] | None = None  # the same, if the clause may be cut there
        self._breath: tuple[int, int] | None = None  # where the clause is cut if it becomes too long
        self._breath_is_mark = False

    def _push(self, delta: str) -> list[str]:
        self._append(delta)
        clauses: list[str] = []
        while True:
            boundary = _BOUNDARY.search(self._text, self._seen)
            start = boundary.start() if boundary else len(self._text)
            if start > _LONGEST:
                cut = self._end_of_longest(start)
            elif boundary is None or (kind := boundary.lastgroup) in ("gap", "wide"):
                self._seen = start
                return clauses
            else:
                cut = boundary.span() if kind == "line" else self._decide(boundary, is_wide=kind == "more")
            if cut and (clause := self._take(*cut)):
                clauses.append(clause)

    def _append(self, delta: str) -> None:
        """Several blanks are one, and none where a line begins: they say nothing."""
        if len(delta) > 1:
            delta = _BLANKS.sub(" ", delta)
        if not self._text and self._begins_line:
            delta = delta.lstrip()
        elif self._text[-1:].isspace() and delta[:1].isspace() and delta[0] != "\n":
            delta = delta[1:]
        self._text += delta

    def _take(self, end: int, rest: int) -> str:
        """Cut the text at `end` and go on at `rest`."""
        raw = self._text[:end]
        if self._begins_line:
            raw, self._item = without_block_marker(raw, self._item)
        self._begins_line = "\n" in self._text[end:rest]
        self._begin(self._text[rest:])
        clause = spoken(raw)
        self._is_first = self._is_first and not clause
        return clause

    def _end_of_longest(self, start: int) -> tuple[int, int] | None:
        """Where to cut the text, which is too long at `start` and has no boundary between that and its longest length.

        A web address is not spoken to its end; so of a long one the middle goes instead.
        """
        if not _ADDRESS.search(self._text, self._word_at, _LONGEST):
            return self._breath or self._gap or (_LONGEST, _LONGEST)
        self._seen = _LONGEST - _ADDRESS_END
        self._text = self._text[: self._seen] + self._text[start - _ADDRESS_END :]
        return None

    def _decide(self, boundary: re.Match[str], is_wide: bool) -> tuple[int, int] | None:
        """Where to cut, now that `boundary` has been reached: the clause's end and where the next begins."""
        here = (boundary.end("wide"), boundary.end("wide")) if is_wide else boundary.span("gap")
        word, following = self._text[self._word_at : here[0]], boundary["next"] or ""
        joint = self._joint
        self._seen = self._word_at = here[1]
        self._gap, self._joint = here, None
        if self._is_first:
            self._words += len(_WORD.findall(word))
        if self._text.find("[", 0, here[0]) >= 0 and self._is_in_link(here[0]):
            return None
        word = word.lstrip(_OPENERS).rstrip(_CLOSERS)
        if _ends_sentence(word, following):
            return here
        is_mark = word == "-" or (
            word != "" and word[-1] in _ANY_MARK and not (word[-2:-1].isdigit() and following.isdigit())
        )
        may_part = is_mark or (not is_wide and _may_part(word, following))
        if self._is_first and (cut := self._end_of_first(word, here, joint, is_mark, may_part)):
            return cut
        if is_mark or (may_part and not self._breath_is_mark):
            self._breath, self._breath_is_mark = here, is_mark
        self._joint = here if may_part else None
        return self._breath if here[0] > _LONG else None

    def _is_in_link(self, end: int) -> bool:
        """Whether a link that begins before `end` may go on after it."""
        text = self._text
        if text.rfind("[", max(0, end - _LINK_TEXT - 1), end) > text.rfind("]", 0, end):
            return True
        address = text.rfind("](", max(0, end - _LINK_ADDRESS - 2), end)
        return address >= 0 and text.find(")", address, end) < 0

    def _end_of_first(
        self, word: str, here: tuple[int, int], joint: tuple[int, int] | None, is_mark: bool, may_part: bool
    ) -> tuple[int, int] | None:
        if is_mark and self._words >= _FIRST_WORDS_AT_MARK:
            return here
        if self._words > _FIRST_WORDS_AT_JOINT and word.lower() in _JOINTS:
            return joint
        return here if may_part and self._words >= _FIRST_WORDS else None


def pause_after(clause: str) -> float:
    """Seconds of silence between a clause that is spoken and the next one."""
    return _SENTENCE_PAUSE_SECONDS if clause.endswith(_SENTENCE_ENDS) else _CLAUSE_PAUSE_SECONDS


def _ends_sentence(word: str, following: str) -> bool:
    """Whether a sentence ends with `word`, of which `following` is the next character that is no opening mark.

    A sentence does not begin with a small letter; a full stop after an abbreviation or a small number ends none.
    """
    if word == "":
        return False
    if word[-1] in _WIDE_ENDS:
        return True
    if word[-1] not in _ENDS or following.islower():
        return False
    return not _is_abbreviation(word, following)


def _is_abbreviation(word: str, following: str) -> bool:
    if not word.endswith("."):
        return False
    return bool(_ABBREVIATION.fullmatch(word) or (following.isdigit() and _BEFORE_NUMBER.fullmatch(word)))


def _may_part(word: str, following: str) -> bool:
    """Whether two words without a mark between them may be spoken apart: not "7 p.m.", "Dr. Ray" or "the sea"."""
    if word.isalpha():
        return not following.isdigit() and word.lower() not in _CLING_TO_NEXT
    if following.isdigit() or any(map(str.isdigit, word)) or word.lower() in _CLING_TO_NEXT:
        return False
    return not _is_abbreviation(word, following)
