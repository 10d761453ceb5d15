"""Codes that their shape gives away, without a word before them: UUID, IBAN, card number, postcode, number plate."""

import re

from server.normalization.context import is_counted
from server.normalization.spelling import spelled
from server.normalization.words import digits_in_groups

_UUID = re.compile(r"(?<![\w-])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?![\w-])")
_MAC = re.compile(r"(?<![\w:-])[0-9A-Fa-f]{2}([:-])[0-9A-Fa-f]{2}(?:\1[0-9A-Fa-f]{2}){4}(?![\w:-])")
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?(?!\w)")
_SPACED = re.compile(
    r"(?<![\w.,/+$€£-])(?<!\d )(?:\d{4} \d{4}|\d{4,6}(?: \d{2,4}){2,5})(?: \d{1,3})?(?![\w%]|[.,/: -]\d)"
)
_HYPHENATED = re.compile(r"(?<![\w.,/:$€£+-])(?:\d{1,9}(?:-\d{1,9}){2,6}|\d{5}-\d{4}|\d{2}-\d{7})(?![\w%:/-])")
_YEARS = re.compile(r"(?:(?:19|20)\d\d ?)+")
_UK_POSTCODE = re.compile(r"(?<![\w-])[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}(?![\w-])")
_CANADIAN_POSTCODE = re.compile(r"(?<![\w-])[A-Z]\d[A-Z] ?\d[A-Z]\d(?![\w-])")
_UK_PLATE = re.compile(r"(?<![\w-])[A-Z]{2}\d{2} [A-Z]{3}(?![\w-])")
_STATES = {
    "AL": "Alabama",
    "AK": "Alaska",
    "AZ": "Arizona",
    "AR": "Arkansas",
    "CA": "California",
    "CO": "Colorado",
    "CT": "Connecticut",
    "DE": "Delaware",
    "FL": "Florida",
    "GA": "Georgia",
    "HI": "Hawaii",
    "ID": "Idaho",
    "IL": "Illinois",
    "IN": "Indiana",
    "IA": "Iowa",
    "KS": "Kansas",
    "KY": "Kentucky",
    "LA": "Louisiana",
    "ME": "Maine",
    "MD": "Maryland",
    "MA": "Massachusetts",
    "MI": "Michigan",
    "MN": "Minnesota",
    "MS": "Mississippi",
    "MO": "Missouri",
    "MT": "Montana",
    "NE": "Nebraska",
    "NV": "Nevada",
    "NH": "New Hampshire",
    "NJ": "New Jersey",
    "NM": "New Mexico",
    "NY": "New York",
    "NC": "North Carolina",
    "ND": "North Dakota",
    "OH": "Ohio",
    "OK": "Oklahoma",
    "OR": "Oregon",
    "PA": "Pennsylvania",
    "RI": "Rhode Island",
    "SC": "South Carolina",
    "SD": "South Dakota",
    "TN": "Tennessee",
    "TX": "Texas",
    "UT": "Utah",
    "VT": "Vermont",
    "VA": "Virginia",
    "WA": "Washington",
    "WV": "West Virginia",
    "WI": "Wisconsin",
    "WY": "Wyoming",
    "DC": "D.C.",
}
_ZIP = re.compile(
    rf"\b(?P<state>{'|'.join([*_STATES, *_STATES.values()])})(?P<comma>,?)\s"
    r"(?P<code>\d{5}(?:-\d{4})?)(?![\w-]|[.,]\d)"
)


def codes(text: str) -> str:
    """ "GB82 WEST 1234 5698 7654 32" becomes "G B eight two, W E S T, one two three four, ..."."""
    for pattern in (_UUID, _MAC, _IBAN, _UK_POSTCODE, _CANADIAN_POSTCODE, _UK_PLATE):
        text = pattern.sub(_in_parts, text)
    return _ZIP.sub(_zip, text)


def digit_groups(text: str) -> str:
    """Digits in groups with spaces, as on a card, or in three and more groups with hyphens."""
    return _SPACED.sub(_spaced, _HYPHENATED.sub(_hyphenated, text))


def _hyphenated(match: re.Match[str]) -> str:
    groups = match.group().split("-")
    return digits_in_groups(*groups) if max(map(len, groups)) > 1 else digits_in_groups("".join(groups))


def _in_parts(match: re.Match[str]) -> str:
    return spelled(re.split("[ :-]", match.group()), match.string[match.end() : match.end() + 1])


def _spaced(match: re.Match[str]) -> str:
    return match.group() if _YEARS.fullmatch(match.group()) else digits_in_groups(*match.group().split())


def _zip(match: re.Match[str]) -> str:
    """The state's short form would be read as a word: "OR", "IN", "ME"."""
    if is_counted(match.string, match.end()):
        return match.group()
    state = _STATES.get(match["state"], match["state"])
    return f"{state}{match['comma']} {digits_in_groups(*match['code'].split('-'))}"
