"""Numbers joined by a mark: ranges ("10-15"), ratios and scores ("3:2"), sizes ("3x4"), differences ("5 - 3 = 2")."""

import re

from server.normalization.marks import DASH, MINUS

_NUMBER = r"\d{1,15}(?:,\d{3}){0,4}(?:\.\d{1,9})?"
_START, _END = r"(?<![\w.,:/-])", r"(?![\w:/]|[.,-]\d)"
_END_OF_RANGE = rf"{MINUS}?{_NUMBER}(?:st|nd|rd|th|s)?"
_RANGE = re.compile(rf"{_START}(?P<first>{_END_OF_RANGE})(?P<dash>\s?{DASH}\s?)(?=(?P<second>{_END_OF_RANGE}){_END})")
_DIFFERENCE = re.compile(rf"{_START}({_NUMBER})\s?(?:{MINUS}|\u2013)\s?(?={_NUMBER}\s?=)")
_RATIO = re.compile(rf"{_START}(\d{{1,5}}(?:\.\d{{1,3}})?)\s?:\s?(?=\d{{1,5}}(?:\.\d{{1,3}})?{_END})")
_SIZE = re.compile(
    r"(?<=[\d'\"\u2032\u2033])\s?(?P<mark>[x\u00d7])\s?(?=\d{1,9}(?:\.\d{1,3})?(?P<unit>\s?[a-z]{1,2}\b)?)"
)
_TIMES = re.compile(r"(?<!\w)x(?=(?!86\b|64\b)\d{1,4}\b)")  # not the processors x86 and x64
_FOLD = re.compile(r"(?<=\d)x(?!\w)")


def ranges(text: str) -> str:
    """ "10-15 minutes" becomes "10 to 15 minutes"; the numbers are left for the rules that follow."""
    text = _TIMES.sub("times ", _FOLD.sub(" times", _SIZE.sub(_by, text)))
    if "=" in text:
        text = _DIFFERENCE.sub(r"\1 minus ", text)
    if ":" in text:
        text = _RATIO.sub(r"\1 to ", text)
    return _RANGE.sub(_range, text)


def _range(match: re.Match[str]) -> str:
    """A dash between spaces may part two thoughts: "in 2019 - 3 years ago"."""
    first, second = match["first"], match["second"]
    if match["dash"][0].isspace() and _value(second) < _value(first):
        return match.group()
    return f"{first} {'to ' if first != second else ''}"  # "50-50" is "fifty fifty"


def _value(number: str) -> float:
    return float(re.sub(r"[^\d.]", "", number))


def _by(match: re.Match[str]) -> str:
    """Sizes are "three by four", products "three times four"."""
    equals = "=" in match.string[match.end() : match.end() + 16]
    return " times " if equals or (match["mark"] != "x" and not match["unit"]) else " by "
