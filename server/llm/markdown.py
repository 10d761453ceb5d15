"""Takes out of a clause what is written and never spoken: markdown, emoji, all of a web address but its host.

Pure. It works on whole clauses, in which no marker is half there; `server.llm.clauses` sees to that.
"""

import re

_FENCE = re.compile(r"\s*(?:```|~~~)[\w+#.-]*\s*")
_BLOCK_MARKER = re.compile(r"\s*(?:>\s*)*(?:#{1,6}\s+|[-*+•]\s+(?:\[[ xX]\]\s+)?)?")
_LIST_NUMBER = re.compile(r"(\d{1,2})[.)]\s+(?=\S)")

_LINK = re.compile(r"!?\[([^\]]*)\]\((?:[^()]|\([^()]*\))*\)")
_ADDRESS = re.compile(
    r"<?(?:https?://(?:[!-.0-~]*@)?(?:www\.)?|\bwww\.)"  # the scheme and what else comes before the host's name
    r"([a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)*)"
    r"[!-~]*?(?=[\"')>\]*_`~.,;:!?]*(?:[^!-~]|$))>?"  # the rest, but for punctuation that belongs to the sentence
)
# A marker touches the words that it marks; "5 * 3", "2*x" and "snake_case" have none.
_STARS = re.compile(r"(?<![a-zA-Z0-9*])\*++(?=\S)|(?<![\s*])\*++(?![a-zA-Z0-9])")
_UNDERSCORES = re.compile(r"(?<!\w)_++(?=\S)|(?<=[^\s_])_++(?!\w)")
_CODE_OR_STRUCK = re.compile(r"`+|~~")
_EMOJI = r"[\U0001F000-\U0001FAFF\U000E0020-\U000E007F\u2600-\u27BF\u2B00-\u2BFF\uFE0F\u20E3]\u200D?"
_EMOJI_BEFORE_MARK = re.compile(rf"\s*(?:{_EMOJI})+\s*(?=[.,;:!?…])")
_EMOJI_RUN = re.compile(rf"(?:{_EMOJI})+")
_CELL_BORDER = re.compile(r"(?:\s*\|)+\s*")


def without_block_marker(text: str, item: int) -> tuple[str, int]:
    """`text`, which begins a line, without the marks of a heading, quote, list item or code fence.

    `item` is the number of the last item of a numbered list (0: none yet), the second result that of this one. Only
    numbers that go on counting are marks; in "42. That is the answer." the number is what matters.
    """
    if _FENCE.fullmatch(text):
        return "", item
    text = _BLOCK_MARKER.sub("", text, count=1)
    number = _LIST_NUMBER.match(text)
    if number and int(number[1]) in (1, item + 1):
        return text[number.end() :], int(number[1])
    return text, item


def spoken(text: str) -> str:
    """`text` as it is said aloud, its whitespace made single spaces; empty if it holds no letter or digit."""
    text = _LINK.sub(r"\1", text)
    text = _ADDRESS.sub(r"\1", text)
    text = _CODE_OR_STRUCK.sub("", text)
    text = _UNDERSCORES.sub("", _STARS.sub("", text))
    text = _EMOJI_RUN.sub(" ", _EMOJI_BEFORE_MARK.sub("", text))
    text = _CELL_BORDER.sub(", ", text.strip().strip("|"))
    return " ".join(text.split()) if any(map(str.isalnum, text)) else ""
