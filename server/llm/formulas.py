r"""Finds formulas in LaTeX among the words of a text: between `$`, `\(` or `\[`, and commands that stand by themselves.

Pure. The trouble is that `$` is money, too, and a backslash part of a path.
"""

import re

from server.llm.latex import ONE_ARGUMENT, TWO_ARGUMENTS, WORDS, spoken_formula

_LONGEST = 200
_INNER = r"((?:[^\\]|\\[^()\[\]])+?)"  # up to the next delimiter, whichever it is
_DELIMITED = re.compile(
    rf"\\\({_INNER}\\\)|\\\[{_INNER}\\\]|\$\$(.{{1,200}}?)\$\$|\$(?=[^\s$])([^$\n]{{1,100}})(?<=\S)\$(?!\d)", re.DOTALL
)
_DELIMITED_BEGUN = re.compile(
    r"\\(?:[(\[].{0,200})?\Z|\$\$?\Z|\$\$(?!.*\$\$).{0,200}\Z|\$[^\s$][^$\n]{0,100}\$?\Z", re.DOTALL
)
# What stands between two `$` is a formula if it looks like one: "$5 (or 5$" does not.
_LOOKS_LIKE_TEX = re.compile(r"[\\^_{}=]|^[a-zA-Z]$|^-?\d+$|^\d+[a-zA-Z]$")
_MONEY = re.compile(
    r"\$\d[\d,.]*+(?:[kKmMbB](?:n|ln|illion)?\b|\s*+(?=[^\s\da-zA-Z=+*/<>^\\{_-])|\s++(?=[a-zA-Z])|\s*+-\s*+(?=[a-zA-Z]{2}))"
)
_BRACES = r"\{(?:[^{}]|\{(?:[^{}]|\{[^{}]{0,80}\}){0,80}\}){0,120}\}"
_COMMAND = re.compile(
    rf"\\(?:(?:{'|'.join(TWO_ARGUMENTS)})\s*{_BRACES}\s*{_BRACES}"
    rf"|(?:{'|'.join(ONE_ARGUMENT)})(?:\[[^\]]{{0,20}}\])?\s*{_BRACES}"
    rf"|(?:{'|'.join(WORDS)})(?![a-zA-Z]))"
)
_NAME_BEGUN = re.compile(r"\\[a-zA-Z]*\Z")
_NAMES = re.compile(rf"\\(?:{'|'.join((*TWO_ARGUMENTS, *ONE_ARGUMENT, *WORDS))})(?![a-zA-Z])")


def find(text: str, at: int) -> tuple[int, str] | None:
    """The length of the formula at `at`, and what it says."""
    if _MONEY.match(text, at):
        return None
    if found := _DELIMITED.match(text, at, at + _LONGEST):
        formula = next(group for group in found.groups() if group is not None)
        if found[4] is None or _LOOKS_LIKE_TEX.search(formula):
            return found.end() - at, spoken_formula(formula)
    if found := _COMMAND.match(text, at, at + _LONGEST):
        return found.end() - at, spoken_formula(found[0])
    return None


def may_grow(text: str, at: int) -> bool:
    """Whether more text could make a formula, or a longer one, of what begins at `at`."""
    if text[at] == "$":
        return not _MONEY.match(text, at) and _DELIMITED_BEGUN.match(text, at) is not None
    if text[at] != "\\" or len(text) - at > _LONGEST:
        return False
    if _NAME_BEGUN.match(text, at):
        return True
    if _NAMES.match(text, at):
        return _COMMAND.match(text, at, at + _LONGEST) is None
    return _DELIMITED.match(text, at, at + _LONGEST) is None and _DELIMITED_BEGUN.match(text, at) is not None
