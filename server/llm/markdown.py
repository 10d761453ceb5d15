"""Takes out of a clause what is written and never spoken: markdown, emoji, all of a web address but its host.

Pure. It works on whole clauses, in which no marker is half there; `server.llm.clauses` sees to that. No expression here
goes over the same characters again and again, so that the work is linear in the text's length.
"""

import re

_FENCE = re.compile(r"\s*(?:```|~~~)[\w+#.-]*\s*")
_BLOCK_MARKER = re.compile(r"\s*(?:>\s*)*(?:#{1,6}\s+|[-*+•]\s+(?:\[[ xX]\]\s+)?)?")
_LIST_NUMBER = re.compile(r"(\d{1,2})[.)]\s+(?=\S)")

_SAYS_SOMETHING = re.compile(r"[^\W_]")
_LINK = re.compile(r"!?\[([^\[\]]*+)\]\((?:[^()]|\([^()]*+\))*\)")
_ADDRESS = re.compile(
    r"<?(?:https?://(?:[!-.0-~]*@)?(?:www\.)?|\bwww\.)"  # the scheme and what else comes before the host's name
    r"([a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)*)"
    r"([!-~]*+)"
)
_AFTER_ADDRESS = "\"')>]*_`~.,;:!?"  # punctuation that belongs to the sentence
# A marker touches the words that it marks; "5 * 3", "2*x" and "snake_case" have none.
_STARS = re.compile(r"(?<![a-zA-Z0-9*])\*++(?=\S)|(?<![\s*])\*++(?![a-zA-Z0-9])")
_UNDERSCORES = re.compile(r"(?<!\w)_++(?=\S)|(?<=[^\s_])_++(?!\w)")
_CODE_OR_STRUCK = re.compile(r"`+|~~")
_BLANKS_BEFORE = r"(?:(?<!\s)\s++)?"  # all of them: a match does not begin in their middle
_EMOJI = r"[\U0001F000-\U0001FAFF\U000E0020-\U000E007F\u2600-\u27BF\u2B00-\u2BFF\uFE0F\u20E3]\u200D?"
_EMOJI_RUN = re.compile(rf"{_BLANKS_BEFORE}(?:{_EMOJI})++\s*+(?P<before_mark>(?=[.,;:!?…]))?")
_CELL_BORDER = re.compile(rf"{_BLANKS_BEFORE}\|(?:\s*+\|)*+\s*+")
_MAY_BE_WRITTEN = re.compile(rf"[\[*_`~|]|://|www\.|{_EMOJI}")  # what any of these begins with


def without_block_marker(text: str, item: int) -> tuple[str, int]:
    """`text`, which begins a line, without the marks of a heading, quote, list item or code fence.

    `item` is the number of the last item of a numbered list (0: none yet), the second result that of this one. Only
    numbers that go on counting are marks; in "42. That is the answer." the number is what matters.
    """
    if text[:1].isalpha():
        return text, item
    if _FENCE.fullmatch(text):
        return "", item
    text = _BLOCK_MARKER.sub("", text, count=1)
    number = _LIST_NUMBER.match(text)
    if number and int(number[1]) in (1, item + 1):
        return text[number.end() :], int(number[1])
    return text, item


def spoken(text: str) -> str:
    """`text` as it is said aloud, its whitespace made single spaces; empty if it holds no letter or digit."""
    if not _SAYS_SOMETHING.search(text):
        return ""
    if not _MAY_BE_WRITTEN.search(text):
        return " ".join(text.split())
    text = _LINK.sub(r"\1", text)
    text = _ADDRESS.sub(_host, text)
    text = _CODE_OR_STRUCK.sub("", text)
    text = _UNDERSCORES.sub("", _STARS.sub("", text))
    text = _EMOJI_RUN.sub(lambda run: " " if run["before_mark"] is None else "", text)
    text = _CELL_BORDER.sub(", ", text.strip().strip("|"))
    return " ".join(text.split()) if _SAYS_SOMETHING.search(text) else ""


def _host(address: re.Match[str]) -> str:
    rest = address[2]
    return address[1] + rest[len(rest.rstrip(_AFTER_ADDRESS)) :].removeprefix(">")
