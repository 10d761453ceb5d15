"""Written English as it is spoken: the rules in their order."""

import re
from collections.abc import Callable, Iterable

from server.normalization import words
from server.normalization.addresses import addresses
from server.normalization.codes import codes, digit_groups
from server.normalization.dates import dates
from server.normalization.identifiers import identifiers, letter_codes
from server.normalization.mixed_codes import mixed_codes
from server.normalization.money import money
from server.normalization.ordinals import ordinals
from server.normalization.phrases import phrases
from server.normalization.plain_numbers import plain_numbers
from server.normalization.quantities import VULGAR
from server.normalization.ranges import ranges
from server.normalization.roman import roman_numerals
from server.normalization.scripts import in_latin
from server.normalization.slashes import slashes
from server.normalization.streets import streets
from server.normalization.symbols import symbols
from server.normalization.telephones import telephones
from server.normalization.times import times
from server.normalization.units import units
from server.normalization.versions import dotted_numbers, named_versions

Rule = Callable[[str], str]

# Each rule sees what those above it left: first what its shape makes certain, then what words beside it say, in the
# end plain numbers; after those no digit is left.
_RULES_FOR_NUMBERS = (
    named_versions,
    addresses,
    phrases,
    streets,
    dates,
    times,
    codes,
    telephones,
    digit_groups,
    identifiers,
    dotted_numbers,
    ordinals,
    money,
    ranges,
    units,
    slashes,
    mixed_codes,
    plain_numbers,
)
# These match where no digit is left, and what one of them writes may be another's to read: "@example.com".
_RULES_FOR_LETTERS = (addresses, letter_codes, roman_numerals, symbols)
_MOST_ROUNDS = 8

_NUMBER = re.compile(f"[\\d\u2080-\u2089{VULGAR}]")
_LETTERS_TO_READ = re.compile(r"[&+=%@§#*\u00d7÷≈≤≥≠²³]|[A-Za-z]\.[A-Za-z]|[A-Z]{2}|\b[VX]\b|://|localhost")
# Some five minutes of speech, where a clause has 200 characters: what is longer is no language, and work is bounded.
_LONGEST = 4000
_DIGITS = str.maketrans({digit: f" {words.digits(digit)} " for digit in "0123456789"})


def spoken_form(text: str) -> str:
    """`text`, a clause, in the words that a person would say; without a digit, and plain prose as it was.

    What has been spoken once stays: the spoken form of a spoken form is itself.
    """
    text = in_latin(text)
    if len(text) > _LONGEST:
        return text.translate(_DIGITS)
    if _NUMBER.search(text):
        text = _through(_RULES_FOR_NUMBERS, text)
    for _ in range(_MOST_ROUNDS):
        before = text
        if _LETTERS_TO_READ.search(text):
            text = _through(_RULES_FOR_LETTERS, text)
        if text == before:
            break
    return text


def _through(rules: Iterable[Rule], text: str) -> str:
    for rule in rules:
        text = rule(text)
    return text
