"""Ordinals and decades: "1st", "22nd", "the 1990s", "the '90s", "in her 30s", "'99"."""

import re

from server.normalization.marks import APOSTROPHE
from server.normalization.words import cardinal, ordinal, two_digits, year

_ORDINAL = re.compile(r"(?<![\w.,])(\d{1,15}|\d{1,3}(?:,\d{3}){1,4})(?:st|nd|rd|th|ST|ND|RD|TH)(?!\w)")
_CENTURY_DECADE = re.compile(rf"(?<![\w.,$£€])(?P<century>1[1-9]|20)(?P<decade>\d0){APOSTROPHE}?s(?!\w)")
_DECADE = re.compile(
    r"(?:(?P<before>\b(?:the|his|her|their|my|your|our|in|and|or|early|late|mid|low|high|upper|lower)[ -])"
    rf"{APOSTROPHE}?|(?<!\w){APOSTROPHE})(?P<decade>\d0){APOSTROPHE}?s(?!\w)"
)
_DECADE_OF = re.compile(
    r"(?<![\w.,])(?P<decade>[2-9]0)s(?=\s(?:music|songs?|hits?|rock|pop|style|fashion|movies?|films?|kids?|era|theme)\b)"
)
_SHORT_YEAR = re.compile(rf"(?<!\w){APOSTROPHE}(?P<year>\d\d)(?=[\s.,;:!?)]|\Z)")


def ordinals(text: str) -> str:
    """ "1st" becomes "first", "the 1990s" "the nineteen nineties"."""
    text = _ORDINAL.sub(lambda match: ordinal(int(match[1].replace(",", ""))), text)
    text = _CENTURY_DECADE.sub(_century_decade, text)
    text = _DECADE.sub(lambda match: (match["before"] or "") + _plural(match["decade"]), text)
    text = _DECADE_OF.sub(lambda match: _plural(match["decade"]), text)
    return _SHORT_YEAR.sub(lambda match: two_digits(int(match["year"])), text)


def _century_decade(match: re.Match[str]) -> str:
    century, decade = int(match["century"]), match["decade"]
    return f"{year(century * 100)}s" if decade == "00" else f"{cardinal(century)} {_plural(decade)}"


def _plural(decade: str) -> str:
    if decade == "00":
        return "two thousands"
    words = cardinal(int(decade))
    return f"{words[:-1]}ies" if words.endswith("y") else f"{words}s"
