"""Letters that an English voice lacks, written in Latin ones, so that it says something where it would fall silent.

What Hibari does without it: Han, kana, Hangul, Arabic, Hebrew, Devanagari and Thai are silently left out, Cyrillic
and Greek are spelled in part, and Latin letters that its network never saw are dropped from their words.
Others met the same with other vendors' voices: Azure speech-sdk#2268.

It knows no language: Chinese characters get their Mandarin reading in Japanese too, and vowels that Arabic and Hebrew
do not write are guessed.
"""

import re
import unicodedata
from functools import lru_cache

from anyascii import anyascii

# The Latin letters beyond ASCII that Hibari's network for unknown words was trained on; its lexicon has no others.
_SPOKEN = (
    "ªµºÀÁÂÃÄÅÆÇÉÊÌÍÎÏÑÒÓÔÕÖØÚÜÞßàáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿĀāĂăąĆćČčĎďĐđĒēĕĖėęěĝĞğġģīĭİıķļĽľŁłńņňŋŌōŏőŒœŘřŚśŞşŠš"
    "ţťūŭŮůŰűųŵźŻżŽžƒơưǎǐǒǔǚșț"
)
_UNSPOKEN = "".join(
    sorted({*map(chr, range(0xC0, 0x250)), *map(chr, range(0x1E00, 0x1F00))} - {*_SPOKEN, "\u00d7", "÷"})
)
_OTHERS = (
    r"\u0370-\u1aaf\u1b00-\u1dbf\u1f00-\u1fff\u2c00-\u2dff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3041-\u309f"
    r"\u30a1-\u30fa\u30fc-\ud7ff\uf900-\ufdff\ufe70-\ufefc\uff21-\uff3a\uff41-\uff5a\uff66-\uffdc\U00010000-\U0001cfff"
    r"\U0001d400-\U0001d7ff\U0001df00-\U0001efff\U0001fbf0-\U0001fbf9\U00020000-\U000323af"
)
_ACCENTED = re.compile(rf"[A-Za-z{_SPOKEN}]?[\u0300-\u036f]+")
_FOREIGN = re.compile(rf"[{_UNSPOKEN}]|[{_OTHERS}]+")
_WIDE_MARKS = {
    "\u3002": ".",
    "\uff0e": ".",
    "\uff61": ".",
    "\uff01": "!",
    "\uff1f": "?",
    "\uff1b": ";",
    "\uff1a": ":",
    "\uff0c": ",",
    "\u3001": ",",
    "\uff64": ",",
}
_WIDE_MARK = re.compile(rf"(?P<mark>[{''.join(_WIDE_MARKS)}])(?P<runs_on>(?=\w))?")
_WIDE_FORMS = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}  # of the ASCII characters

_HAN = re.compile("[\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af]")
_INDIC = re.compile("[\u0900-\u0dff]")
_VOWEL_MARK = re.compile("VOWEL SIGN|VIRAMA|SIGN AL-LAKUNA")
_OWN = {"\u0627": "a", "\u0622": "a", "।": ".", "॥": "."}  # alef and danda; the library has nothing, and a comma
_CLUSTER = re.compile(r"(?<![a-z])([b-df-hj-np-tv-xz])([b-df-hj-np-tv-xz])(?=[b-df-hj-np-tv-xz])")
_GREEK_LETTER = re.compile("GREEK .*LETTER ")
_SAYABLE = re.compile(r"[^A-Za-z0-9 .,;:!?]+")
_SENTENCE_START = re.compile(r"(?:^|[.!?]\s+)$")


def in_latin(text: str) -> str:
    """`text` with the letters and digits of other scripts in Latin ones; text that has none comes back as it is."""
    if text.isascii():
        return text
    text = _WIDE_MARK.sub(lambda match: _WIDE_MARKS[match["mark"]] + " " * (match["runs_on"] is not None), text)
    return _FOREIGN.sub(_latin, _ACCENTED.sub(_accented, text.translate(_WIDE_FORMS)))


def _latin(match: re.Match[str]) -> str:
    run, (start, end) = match.group(), match.span()
    if len(run) == 1 and not _HAN.match(run):
        text = match.string
        return _letter(run, text[max(0, start - 1) : start].isalpha(), text[end : end + 1].isalpha())
    words = " ".join(_SAYABLE.sub("", _transliterated(run)).split())
    if _SENTENCE_START.search(match.string[max(0, start - 4) : start]):
        words = words[:1].upper() + words[1:]
    before = " " if words and match.string[start - 1 : start].isalnum() and start else ""
    after = " " if words and match.string[end : end + 1].isalnum() else ""
    return before + words + after


def _accented(match: re.Match[str]) -> str:
    """A letter with combining accents stays if the voice has it as one character; accents of no letter go."""
    composed = unicodedata.normalize("NFC", match.group())
    return match.group() if composed in _SPOKEN else anyascii(composed)


@lru_cache(maxsize=4096)
def _letter(character: str, ends_word: bool, begins_word: bool) -> str:
    """One letter, which may end or begin a word of another script; Greek ones on their own are said by their name."""
    if character == "μ" and begins_word:
        return "µ"  # of micrometers, which the rules for units know
    if character == "Ω":
        return character  # the voice says "omega", and the rules for units "ohm"
    name = unicodedata.name(character, "")
    if _GREEK_LETTER.match(name) and not ends_word and not begins_word:
        return name.partition(" LETTER ")[2].removeprefix("FINAL ").split()[0].lower()
    return _SAYABLE.sub("", _transliterated(character)).strip()


def _transliterated(run: str) -> str:
    latin = "".join(map(_sound, run, run[1:] + " "))
    return _CLUSTER.sub(r"\1a\2", latin) if "\u0590" <= run[0] <= "\u06ff" else latin


@lru_cache(maxsize=4096)
def _sound(character: str, following: str) -> str:
    """A character before another one; for what is written without spaces, a syllable with spaces."""
    latin = _OWN.get(character) or anyascii(character)
    if _HAN.match(character):
        return f" {latin.lower()} "
    if "\uac00" <= character <= "\ud7a3":
        return latin.lower()
    return f"{latin}a" if _INDIC.match(character) and _keeps_vowel(character, latin, following) else latin


def _keeps_vowel(character: str, latin: str, following: str) -> bool:
    """Whether the vowel that a letter of India has by itself is heard: not before another vowel or a word's end."""
    if unicodedata.category(character) != "Lo" or latin[-1:] not in "bcdfghjklmnpqrstvwyz":
        return False
    is_in_word = _INDIC.match(following) and unicodedata.category(following)[0] in "LM"
    return bool(is_in_word) and not _VOWEL_MARK.search(unicodedata.name(following, ""))
