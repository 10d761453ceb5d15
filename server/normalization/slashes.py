"""Two numbers with a slash between them: a day, a fraction or a score; and "3½"."""

import re

from server.normalization.context import before
from server.normalization.dates import month_and_day
from server.normalization.quantities import fraction, of_one, with_slashes
from server.normalization.words import cardinal, two_digits

_PAIR = re.compile(
    r"(?<![\w./$€£-])(?:(?P<whole>\d{1,4})[ -])?(?P<first>\d{1,5})/(?P<second>\d{1,5})(?![\w/%]|[.-]\d)"
    r"(?:\s(?P<measure>cup|teaspoon|tablespoon|inch|mile|hour|pint|quart|gallon|pound|ounce|acre|page|meter)\b)?"
)
_BEFORE_DAY = re.compile(
    r"\b(?:on|by|until|till|from|since|before|after|due|dated|through|between|(?:mon|tues|wednes|thurs|fri|satur|sun)day),?"
    r"\s(?:the\s)?$",
    re.IGNORECASE,
)
_BEFORE_EXPIRY = re.compile(r"\b(?:exp\w{0,9}|valid\s\w{1,9})[:.]?\s(?:on\s|in\s|is\s|date\s)?$", re.IGNORECASE)
_HALVES = (20, 50, 60)  # "20/20 vision", "split it 50/50"
_AFTER_SCORE = re.compile(r"\s(?:stars?|points?|correct|rating)\b")


def slashes(text: str) -> str:
    """ "1/2 cup" becomes "one half cup", "on 11/29" "on November twenty-ninth"."""
    text = with_slashes(text)
    return _PAIR.sub(_pair, text) if "/" in text else text


def _pair(match: re.Match[str]) -> str:
    whole, first, second = match["whole"], int(match["first"]), int(match["second"])
    is_score = second in (10, 100) or first == second or _AFTER_SCORE.match(match.string, match.end())
    if whole is None:
        ahead = before(match.string, match.start())
        if 1 <= first <= 12 and second < 100 and _BEFORE_EXPIRY.search(ahead):
            return f"{cardinal(first)} {two_digits(second)}"
        if _is_day(first, second) and _BEFORE_DAY.search(ahead):
            return month_and_day(first, second) if first <= 12 else month_and_day(second, first)
        if first == second and first in _HALVES:
            return f"{cardinal(first)} {cardinal(second)}"
        if first <= 12 < second <= 31 and second not in (16, 32) and _is_day(first, second):
            return month_and_day(first, second)
    if is_score:
        lead = f"{cardinal(int(whole))} " if whole else ""
        return f"{lead}{cardinal(first)} out of {cardinal(second)}"
    words = fraction(whole, match["first"], match["second"])
    return of_one(words, match["measure"]) if match["measure"] else words


def _is_day(first: int, second: int) -> bool:
    """Whether they are a month and a day of it, in either order."""
    return 1 <= min(first, second) <= 12 and 1 <= max(first, second) <= 31
