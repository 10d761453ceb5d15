"""Words of letters and digits that are codes without a word that says so: "X7K9Q2", "UA123", "AB-1234-CD"."""

import re

from server.normalization.spelling import dictated

_MIXED = re.compile(
    r"(?<![\w.,@#-])(?=[\w-]{0,40}[A-Za-z])(?=[\w-]{0,40}\d)(?!(?:Q[1-4]-?|FY|CY)(?:19|20)?\d\d\b)"
    r"[A-Za-z\d]++(?:-[A-Za-z\d]++){0,12}+(?![\w@]|-\w|\.\d)"
)
_RUN = re.compile(r"[A-Za-z]+|\d+")
_NUMBER_TO_SPELL = re.compile(r"\d{3,}|0\d")
_ROUND = re.compile(r"[A-Z]-?[1-9]\d?00")  # "A300", "T-1000"
_WORD_AND_YEAR = re.compile(r"[A-Z]{4,}-?(?:19|20)\d\d")  # "COVID-2019"
_WORD = re.compile(r"(?=[A-Z]*?[AEIOUY])[A-Z]{4,}")


def mixed_codes(text: str) -> str:
    """Spell them; names such as "MP3", "B12" and "COVID-19" are left for `plain_numbers`."""
    return _MIXED.sub(_mixed, text)


def _mixed(match: re.Match[str]) -> str:
    written = match.group()
    return dictated(written, match.string[match.end() : match.end() + 1]) if _is_code(written) else written


def _is_code(written: str) -> bool:
    """Whether nobody would read `written` as words and numbers.

    It has a number of three or more digits, or one with a leading zero, or it goes to and fro between letters and
    digits. Small letters make a word of it, unless it goes to and fro.
    """
    runs = _RUN.findall(written)
    if "-" not in written and len(runs) >= 4:
        return True
    if written.upper() != written or _ROUND.fullmatch(written) or _WORD_AND_YEAR.fullmatch(written):
        return False
    if "-" not in written and any(map(_WORD.fullmatch, runs)):
        return False
    return len(runs) >= 4 or any(map(_NUMBER_TO_SPELL.match, runs))
