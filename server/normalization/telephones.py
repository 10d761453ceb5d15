"""Telephone numbers, digit by digit, with a short pause where they are grouped."""

import re

from server.normalization.context import before, is_counted
from server.normalization.marks import OPENING
from server.normalization.words import digits, digits_in_groups

_START, _END = r"(?<![\w.,/#$£€+-])(?<!\d )", r"(?![\w%]|[.,:/-]\d)"
_INTERNATIONAL = re.compile(rf"(?<![\w+])\+\d(?:[ .()/-]{{0,2}}\d){{6,14}}{_END}")
_NORTH_AMERICAN = re.compile(rf"{_START}(?:1[ .-])?(?:\(\d{{3}}\)[ .-]?|\d{{3}}[ .-])\d{{3}}[ .-]\d{{4}}{_END}")
_LOCAL = re.compile(rf"{_START}(?P<first>\d{{3}})[-.](?P<second>\d{{4}}){_END}")
_TRUNK = re.compile(rf"{_START}\(?0\d{{1,4}}\)?(?:[ ./-]{{1,2}}\d{{2,8}}){{1,5}}{_END}")  # United Kingdom and others
_LETTERS = re.compile(rf"{_START}(?:1[ -])?8\d\d-(?P<word>[A-Z]{{2,10}}(?:-[A-Z]{{2,10}})?)(?![\w-])")
_DIALLED = r"\d{3,15}(?:[ .-]\d{2,12}){0,6}"
_CALLED = re.compile(
    r"\b(?P<verb>(?:call|dial|ring|phone|text|fax|tel|telephone|mobile|cell|whatsapp|hotline|helpline)\b"
    r"(?:[.:]|\s(?:us|me|him|her|them|back|number|no\.|line|is|on|at|free|toll-free|directly|now)){0,4}+[:,]?\s?)"
    rf"(?P<number>{_DIALLED}){_END}(?:(?P<or>,?\s(?:or|and)\s)(?P<other>{_DIALLED}){_END})?",
    re.IGNORECASE,
)
_TEXTED = re.compile(
    rf"(?P<to>\b[Tt]ext\s{OPENING}?[A-Z][A-Za-z]{{1,11}}[\"'\u201d\u2019]?\sto\s)(?P<number>\d{{3,8}})(?!\w)"
)
_EXTENSION = re.compile(
    r"(?P<after>(?<=\d),?\s?)?\b(?P<word>ext(?:\.|n\.?|ension)?)(?P<is>\s(?:number|no\.?|is))?[:#]?\s?#?"
    r"(?P<number>\d{1,6})(?![\w%]|[.,:/-]\d)",
    re.IGNORECASE,
)
_SHORT_EXTENSION = re.compile(r"(?<=\d{4}),?\sx\.?(?P<number>\d{2,6})(?!\w)")
_KEYS = re.compile(r"(?<![\w*#])(?P<first>[*#])(?P<number>\d{1,6})(?P<last>#?)(?!\w)")
_LAST_KEY = re.compile(r"(?<![\w#])(\d{1,15})#(?!\w)")
_KEY_NAMES = {"*": "star ", "#": "pound "}
_TO_CALL = re.compile(
    r"\b(?:call|dial|ring|phone|text|fax|tel|telephone|mobile|cell|number|line|hotline|reach|contact)\b\D{0,24}$",
    re.IGNORECASE,
)
_TO_PRESS = re.compile(r"\b(?:press|dial|hit|enter|call)\s$", re.IGNORECASE)


def telephones(text: str) -> str:
    """ "+1 (617) 555-0123" becomes "plus one, six one seven, five five five, zero one two three"."""
    text = _SHORT_EXTENSION.sub(r", extension \g<number>", text)
    text = _EXTENSION.sub(_extension, text)
    if "+" in text:
        text = _INTERNATIONAL.sub(_international, text)
    if "*" in text or "#" in text:
        text = _LAST_KEY.sub(r"\1 pound", text)
        text = _KEYS.sub(_keys, text)
    text = _TRUNK.sub(_trunk, _NORTH_AMERICAN.sub(_in_written_groups, text))
    text = _LETTERS.sub(lambda match: f"{_in_written_groups(match)}, {match['word'].replace('-', ' ')}", text)
    text = _CALLED.sub(_called, text)
    text = _TEXTED.sub(lambda match: match["to"] + digits_in_groups(match["number"]), text)
    return _LOCAL.sub(_local, text)


def _extension(match: re.Match[str]) -> str:
    word = match["word"] if len(match["word"]) > 4 else "extension"
    return f"{', ' if match['after'] else ''}{word}{match['is'] or ''} {digits(match['number'])}"


def _international(match: re.Match[str]) -> str:
    groups = re.findall(r"\d+", match.group())
    if len(groups[0]) > 3:  # without a space after the country's code, which has two digits in most countries
        size = 1 if groups[0][0] in "17" else 2
        groups[:1] = [groups[0][:size], groups[0][size:]]
    return f"plus {digits_in_groups(*groups)}"


def _in_written_groups(match: re.Match[str]) -> str:
    return digits_in_groups(*re.findall(r"\d+", match.group()))


def _trunk(match: re.Match[str]) -> str:
    """With a leading zero; shorter or longer ones than any country has are something else."""
    return _in_written_groups(match) if 8 <= sum(map(str.isdecimal, match.group())) <= 15 else match.group()


def _called(match: re.Match[str]) -> str:
    """What follows "call" is a number to call unless it counts something: "call 911", not "call 100 customers"."""
    numbers = [re.findall(r"\d+", match[group] or "") for group in ("number", "other")]
    is_short = any(sum(map(len, groups)) < 7 and min(map(len, groups), default=3) < 3 for groups in numbers)
    if is_short or is_counted(match.string, match.end()):
        return match.group()
    return match["verb"] + (match["or"] or "").join(digits_in_groups(*groups) for groups in numbers)


def _local(match: re.Match[str]) -> str:
    """ "555-0123", but not the range "500-1000"."""
    first, second = match["first"], match["second"]
    if second[0] != "0" and int(first) < int(second):
        are_round = first.endswith("0") and second.endswith("00")
        is_to_call = _TO_CALL.search(before(match.string, match.start()))
        if is_counted(match.string, match.end()) or (are_round and not is_to_call):
            return match.group()
    return digits_in_groups(first, second)


def _keys(match: re.Match[str]) -> str:
    """ "*67"; of "#42" only what is pressed or dialled, as else it is a number."""
    if match["first"] == "#" and not match["last"] and not _TO_PRESS.search(before(match.string, match.start())):
        return match.group()
    return _KEY_NAMES[match["first"]] + digits(match["number"]) + (" pound" if match["last"] else "")
