"""The numbers that no other rule has read: cardinals, decimals, years, and digits in or beside a word ("MP3")."""

import re

from server.normalization.context import before, is_counted
from server.normalization.marks import MINUS
from server.normalization.spelling import letter
from server.normalization.words import MOST_CARDINAL_DIGITS, cardinal, decimal, digits_in_groups, year

# Before the number stand a sign, letters as in "B12" and "F-16", or the hyphen of "COVID-19"; its first form is with
# separators between thousands; behind it stand a power, or what "3/day", "3,4", "14A" and "two 7s" have.
_NUMBER = re.compile(
    rf"""
    (?: (?P<sign> (?<![^\s(\[:=/"'\u201c\u2018]) (?: (?:{MINUS}|\+)(?=\.?\d) | [±~≈<>≤≥]\s?(?=\.?\d) ) )
      | (?P<letters> (?<![^\W\d_]) [A-Z]{{1,2}} ) -? (?=\d)
      | (?<=[A-Za-z\d]) - (?=\d)
    )?
    (?P<number>
        [1-9]\d{{0,2}}
        (?: (?:,\d{{2,3}}){{0,4}},\d{{3}} | (?:[\u00a0\u202f]\d{{3}}){{1,4}} | (?:[ ]\d{{3}}){{2,4}} | [ ]000 )
        (?!,?\d) (?:\.\d+)?
      | \d+ (?:\.\d+)?
      | (?<![\w.]) \.\d+
    )
    (?P<power> [²³] | \^(?=\d) )?
    (?: (?P<per> /(?=[a-z]{{2}}) ) | (?P<comma> ,(?=\d) ) | (?P<right> [As](?![^\W\d_]) ) )?
    """,
    re.VERBOSE,
)
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_OF_A_YEAR = re.compile(
    r"\b(?:in|since|during|until|till|before|after|by|year|early|late|mid|spring|summer|fall|autumn|winter|circa|ca\."
    r"|class\sof|Q[1-4]|quarter|the|this|our|your)[ -]$",
    re.IGNORECASE,
)
_SIGNS = {
    "-": "minus",
    "\u2212": "minus",
    "+": "plus",
    "±": "plus or minus",
    "~": "about",
    "≈": "about",
    "<": "less than",
    ">": "more than",
    "≤": "at most",
    "≥": "at least",
}
_LOWER_CASE_WORD = re.compile(r"(?<![^\W_])[a-z]+\Z")
_POWERS = {"²": " squared", "³": " cubed", "^": " to the power of "}
# Digits of a number without separators that is dictated rather than read.
_FEWEST_DICTATED, _FEWEST_DICTATED_IN_WORD = 7, 3


def plain_numbers(text: str) -> str:
    """After this no digit is left."""
    return _NUMBER.sub(_aloud, text.translate(_SUBSCRIPTS))


def _aloud(match: re.Match[str]) -> str:
    text, (start, end) = match.string, match.span()
    touches_before = not match["letters"] and text[max(0, start - 1) : start].isalnum()
    following = text[end : end + 1]
    words = _words(
        match, is_in_word=text[match.start("number") - 1 : match.start("number")].isalpha() or following.isalpha()
    )
    if match["letters"]:
        words = f"{' '.join(letter(name, ' ') for name in match['letters'])} {words}"
    elif match["sign"]:
        words = f"{_SIGNS[match['sign'].strip()]} {words}"
    elif touches_before:
        keeps_hyphen = text[start] == "-" and _LOWER_CASE_WORD.search(before(text, start))
        words = f"-{words}" if keeps_hyphen else f" {words}"
    words += _POWERS.get(match["power"] or "", "")
    if match["per"]:
        return f"{words} per "
    if match["comma"]:
        return f"{words}, "
    if match["right"] == "A":
        return f"{words} {letter('A', following)}" + " " * following.isalnum()
    if match["right"] == "s":
        return f"{words} s" if touches_before else _plural(words)
    return f"{words} " if following.isalpha() else words


def _words(match: re.Match[str], is_in_word: bool) -> str:
    written = match["number"]
    number = re.sub(r"[,\s]", "", written)
    if not number.isdecimal() or len(number) > MOST_CARDINAL_DIGITS or (number[0] == "0" and len(number) > 1):
        return decimal(number)
    counts = is_counted(match.string, match.end())
    if len(written) == 4 and _is_year(int(number), before(match.string, match.start()), counts):
        return year(int(number))
    fewest = _FEWEST_DICTATED_IN_WORD if is_in_word else _FEWEST_DICTATED
    if (
        number == written
        and len(number) >= fewest
        and not counts
        and not number.endswith("00" if is_in_word else "000")
    ):
        return digits_in_groups(number)
    return cardinal(int(number))


def _is_year(number: int, before: str, counts: bool) -> bool:
    """Whether `number` is read in pairs, as years are; other numbers below 2100 may be, too: "1250 in all"."""
    if 1100 <= number < 2100 and not counts:
        return True
    return bool(_OF_A_YEAR.search(before)) and (1900 <= number < 2100 or (1000 <= number < 3000 and not counts))


def _plural(words: str) -> str:
    if words.endswith("y"):
        return f"{words[:-1]}ies"
    return f"{words}es" if words.endswith("x") else f"{words}s"
