"""Numbers as they stand beside a unit or a currency, and what they are in words: "-5", "1,234.5", "10-15", "3½"."""

import re
import unicodedata

from server.normalization.marks import DASH, MINUS
from server.normalization.words import cardinal, decimal

_PLAIN = r"(?:\d{1,3}(?:,\d{3}){1,4}|\d{1,3}(?:[ \u00a0\u202f]\d{3}){2,4}|\d{1,15})(?:\.\d{1,15})?|\.\d{1,15}"
_WITH_SLASH = {vulgar: unicodedata.normalize("NFKC", vulgar).replace("\u2044", "/") for vulgar in "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"}
VULGAR = "".join(_WITH_SLASH)
"""The fractions that are one character."""
_NUMBER = rf"(?:(?:\d{{1,4}}\s)?\d{{1,2}}/\d{{1,2}}|\d{{0,4}}\s?[{VULGAR}]|{_PLAIN})"
_TO = rf"(?:{DASH}|\sto\s)"
QUANTITY = rf"(?<![\w.,:/])(?:(?<![^\s(\[:=]){MINUS})?(?:{_NUMBER}{_TO}{MINUS}?)?{_NUMBER}"
"""A number that no word runs into, or two with a range's mark between them; a minus stands where a word would begin."""

_RANGE = re.compile(rf"(?P<first>{_NUMBER}){_TO}(?P<second>{MINUS}?{_NUMBER})\Z")
_VULGAR = re.compile(rf"(\d?)\s?([{VULGAR}])")
_FRACTION = re.compile(r"(?:(\d{1,4})\s)?(\d{1,2})/(\d{1,2})")
_ONE = re.compile(rf"{MINUS}?1|\d{{1,2}}/\d{{1,2}}|[{VULGAR}]")
_DENOMINATORS = {
    2: "half",
    3: "third",
    4: "quarter",
    5: "fifth",
    6: "sixth",
    7: "seventh",
    8: "eighth",
    9: "ninth",
    10: "tenth",
    12: "twelfth",
    16: "sixteenth",
    32: "thirty-second",
    64: "sixty-fourth",
}


def quantity(written: str) -> str:
    """The words for what `QUANTITY` matches."""
    if parts := _RANGE.match(written):
        return f"{quantity(parts['first'])} to {quantity(parts['second'])}"
    if written.startswith(("-", "\u2212")):
        return f"minus {quantity(written[1:])}"
    if mixed := _FRACTION.fullmatch(with_slashes(written)):
        return fraction(*mixed.groups())
    return decimal(re.sub(r"\s", "", written))


def is_one(written: str) -> bool:
    """Whether what is measured stands in the singular: "1 km", "1/2 km", but "1.0 kilometers"."""
    return bool(_ONE.fullmatch(written))


def with_slashes(text: str) -> str:
    """ "3½" as "3 1/2"."""
    return _VULGAR.sub(lambda match: f"{match[1]} {_WITH_SLASH[match[2]]}".lstrip(), text)


def fraction(whole: str | None, numerator: str, denominator: str) -> str:
    """ "one half", "three and a half", "three quarters"; "over" where English has no everyday name."""
    top, bottom = int(numerator), int(denominator)
    name = _DENOMINATORS.get(bottom)
    if name is None:
        words = f"{cardinal(top)} over {cardinal(bottom)}"
    elif top == 1:
        words = f"one {name}"
    else:
        words = f"{cardinal(top)} {'halves' if bottom == 2 else f'{name}s'}"
    if whole is None:
        return words
    if name and top == 1:
        words = f"{'an' if bottom == 8 else 'a'} {name}"
    return f"{cardinal(int(whole))} and {words}"


def of_one(number: str, name: str) -> str:
    """ "three quarters of a mile", but "one half mile"; `number` is in words, `name` in the singular."""
    is_many = number.endswith("s") and " and " not in number
    article = "an" if name[0] in "aeiou" or name == "hour" else "a"
    return f"{number} of {article} {name}" if is_many else f"{number} {name}"
