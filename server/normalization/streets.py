"""House numbers, which are read in pairs: "123 Main Street" is "one twenty-three Main Street"."""

import re

from server.normalization.words import cardinal, digits, two_digits

_STREET = re.compile(
    r"(?<![\w.,:/$-])(?P<number>[1-9]\d{2,4})(?P<letter>[A-Z]?)(?=\s(?:[NSEW]\.?\s)?(?:[A-Z][A-Za-z'.]{1,20}\s){1,3}"
    r"(?:Street|St|Avenue|Ave|Road|Rd|Drive|Dr|Lane|Ln|Boulevard|Blvd|Court|Ct|Place|Pl|Way|Terrace|Parkway|Pkwy|Highway"
    r"|Hwy|Square|Circle|Trail)\b)"
)


def streets(text: str) -> str:
    """The numbers before the name of a street."""
    return _STREET.sub(lambda match: f"{_aloud(match['number'])} {match['letter']}".rstrip(), text)


def _aloud(number: str) -> str:
    if len(number) > 4:
        return digits(number)
    high, low = divmod(int(number), 100)
    if number.endswith("000"):
        return cardinal(int(number))
    return f"{cardinal(high)} {two_digits(low) if low else 'hundred'}"
