"""The marks that stand for a word: "&", "+", "=", "%", "@", "§", "#". The numbers beside them are words already."""

import re

from server.normalization.spelling import letter

_ANY = re.compile(r"[&+=%@§#*\u00d7÷≈≤≥≠²³]")
_AND = re.compile(r"(?P<left>(?<!\w)A)?\s?(?<!&)&(?:amp;)?(?!&)\s?(?P<right>A(?!\w))?")
_INFIX = re.compile(r"(?P<left>(?<!\w)A)?(?<=[\w.)])\s?(?P<mark>[+=\u00d7÷≈≤≥≠])\s?(?=[\w(])")
_PLUS = re.compile(r"(?P<left>(?<!\w)A)?(?<=[\w.])(?P<marks>\+{1,2})(?![\w+])")
_POWER = re.compile(r"(?<=[A-Za-z)])[²³](?!\w)")
_PERCENT = re.compile(r"(?<![\w%])%(?![\w%])")
_AT = re.compile(r"(?<![\w@])@(?=\s?[A-Za-z])\s?")
_SECTION = re.compile(r"(?P<touches>(?<=\w))?(?P<doubled>(?<=ection ))?(?<!§)§(?P<many>§?)\s?(?=[A-Za-z])")
_KEY = re.compile(r"(?P<verb>\b(?:press|dial|hit|push)\s(?:the\s)?)(?P<key>[*#])(?=\s|[.,]|\Z)", re.IGNORECASE)
_SHARP = re.compile(r"\b([A-G])#(?![\w#])")
_HASHTAG = re.compile(r"(?<![\w&#])#(?=[A-Za-z])")
_NAMES = {
    "+": "plus",
    "=": "equals",
    "\u00d7": "times",
    "÷": "divided by",
    "≈": "is about",
    "≤": "is at most",
    "≥": "is at least",
    "≠": "is not equal to",
}


def symbols(text: str) -> str:
    """ "R&D" becomes "R and D", "C++" "C plus plus"."""
    if not _ANY.search(text):
        return text
    text = _AND.sub(_and, text)
    text = _INFIX.sub(lambda match: f"{_left(match)} {_NAMES[match['mark']]} ", text)
    text = _PLUS.sub(lambda match: _left(match) + " plus" * len(match["marks"]), text)
    text = _POWER.sub(lambda match: " squared" if match.group() == "²" else " cubed", text)
    text = _KEY.sub(lambda match: match["verb"] + ("star" if match["key"] == "*" else "pound"), text)
    text = _AT.sub("at ", _PERCENT.sub("percent", text))
    text = _SECTION.sub(_section, text)
    return _HASHTAG.sub("hashtag ", _SHARP.sub(r"\1 sharp", text))


def _and(match: re.Match[str]) -> str:
    start, end = match.span()
    right = letter("A", match.string[end : end + 1]) if match["right"] else ""
    before = " " if start or match["left"] else ""
    return f"{_left(match)}{before}and{' ' if right or end < len(match.string) else ''}{right}"


def _section(match: re.Match[str]) -> str:
    if match["doubled"] is not None:
        return ""
    return f"{' ' if match['touches'] is not None else ''}section{'s' if match['many'] else ''} "


def _left(match: re.Match[str]) -> str:
    return letter("A", " ") if match["left"] else ""
