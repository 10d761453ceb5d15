"""Addresses on the internet: mail, hosts with what follows them, and IPv4."""

import re
from collections.abc import Iterator

from server.normalization.spelling import letter, spelled
from server.normalization.words import digits

# Endings that are also English words ("in", "it", "me", "so") would make a host of a missing space after a full stop.
_TOP = (
    "com|org|net|edu|gov|mil|info|biz|dev|app|shop|store|online|site|cloud|tech|blog|news|xyz|io|ai|co|tv|eu|uk|de|fr"
    "|es|nl|ch|se|dk|pl|pt|cz|fi|ie|gr|ru|ua|tr|jp|cn|kr|hk|sg|nz|au|ca|mx|br|ar|cl|za|ng|ke|il|ae|sa"
)
_LABEL = r"[A-Za-z0-9][A-Za-z0-9-]{0,62}"
_EMAIL = re.compile(
    rf"(?<![\w.+%@-])[A-Za-z0-9][A-Za-z0-9_.+%-]{{0,63}}@(?:{_LABEL}\.){{1,6}}[A-Za-z]{{2,20}}(?![\w-])"
)
_HOST = re.compile(
    rf"(?<![\w.-])(?:https?://(?:www\.)?(?:{_LABEL}\.){{0,6}}{_LABEL}|localhost(?=[:/]\w)"
    rf"|(?:{_LABEL}\.){{1,6}}(?:{_TOP})(?![\w-]|\.\w))(?::\d{{1,5}})?(?:[/?#][A-Za-z0-9_/.~%+=&?#:-]{{0,200}})?"
)
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?::\d{1,5}|/\d{1,2})?(?![\w/]|\.\d)")

_PIECE = re.compile(r"[A-Za-z]+|\d+|[^A-Za-z\d]")
_MARKS = {
    ".": "dot",
    "@": "at",
    "-": "dash",
    "_": "underscore",
    "+": "plus",
    "/": "slash",
    ":": "colon",
    "~": "tilde",
    "%": "percent",
    "?": "question mark",
    "=": "equals",
    "&": "and",
    "#": "hash",
}
_SCHEME = re.compile(r"https?://(?:www\.)?")
_SENTENCE_END = ".:?"  # may end the sentence rather than the address
_SILENT_END = "/#-&="
_SAID_ENDINGS = frozenset({"com", "org", "net", "gov", "biz", "dev", "app", "store", "shop", "co"})
_SHORT_WORDS = re.compile(r"my|to|go|we|me|is|it|in|on|of|at|by|or|an|be|do|he|no|so|up|us|hi|co", re.IGNORECASE)
_VOWEL = re.compile(r"[aeiouy]", re.IGNORECASE)


def addresses(text: str) -> str:
    """ "jane.doe@example.com" becomes "jane dot doe at example dot com"."""
    if "@" in text:
        text = _EMAIL.sub(_aloud, text)
    if "." in text or ":" in text or "localhost" in text:
        text = _HOST.sub(_aloud, _IPV4.sub(_aloud, text))
    return text


def _aloud(match: re.Match[str]) -> str:
    address = match.group().rstrip(_SENTENCE_END + _SILENT_END)
    tail = match.group()[len(address) :].rstrip(_SILENT_END)
    following = tail + match.string[match.end() : match.end() + 1]
    return " ".join(_pieces(_SCHEME.sub("", address, count=1), following)) + tail


def _pieces(address: str, following: str) -> Iterator[str]:
    for piece in _PIECE.finditer(address):
        written, is_last = piece.group(), piece.end() == len(address)
        if written in _MARKS:
            yield _MARKS[written]
        elif written.isdecimal():
            yield digits(written)
        elif len(written) == 1:
            yield letter(written, following if is_last else " ")
        elif _is_word(written, is_last):
            yield written
        else:
            yield spelled([written], following if is_last else " ")


def _is_word(letters: str, is_last: bool) -> bool:
    """Whether a person says `letters` as a word: "jane", "com", but neither "bbc" nor "uk"."""
    if is_last and len(letters) < 4:
        return letters.lower() in _SAID_ENDINGS
    if len(letters) == 2:
        return bool(_SHORT_WORDS.fullmatch(letters))
    return bool(_VOWEL.search(letters))
