"""Text as Chatterbox Turbo takes it: in pieces neither too long nor too short, with upstream's own punctuation rules.

Pure, and without torch. Tags such as [laugh] are the model's words and pass through whole.
"""

from collections.abc import Iterator

from server.workers.engines.pieces import TAG, sentence_parts, without_tags

_LONGEST_PIECE = 300  # characters: about 20 s; the model breaks down past 350 (upstream #385, #424, #543)

# With less to say ("Hi!", "No", a digit) the model babbles on (#97), or stops so soon that upstream crashes (#201).
_SHORTEST_PIECE = 8  # letters and digits
# What a short piece gets if there is nothing to join it to: more tokens for the model and no word for the ear. Of the
# marks that `normalized` lets stand the full stop is the one that asks for nothing to follow.
_PADDING = " ..."

_REPLACED = (  # in this order: each rule sees what those above it made
    ("…", ", "),
    (":", ","),
    ("—", "-"),
    ("–", "-"),  # noqa: RUF001
    (" ,", ","),
    ("“", '"'),
    ("”", '"'),
    ("‘", "'"),  # noqa: RUF001
    ("’", "'"),  # noqa: RUF001
)
_ENDS = (".", "!", "?", "-", ",")

_TOKENS_PER_SECOND = 25
_SLOWEST_CHARACTERS_PER_SECOND = 8.0  # voices speak 12 to 16; a slow one that pauses about 10
_DIGIT_CHARACTERS = 5  # "7" is said as "seven"
_TAG_SECONDS = 3.0  # a long laugh
_SPARE_SECONDS = 2.0  # to begin, to end, and for letters that are spelled
_MOST_TOKENS = 1000


def pieces(text: str) -> list[str]:
    """What to say in one go each: a sentence or, if it has over 300 characters, a part of one.

    A very short one is joined to the one before it, else to the one after it. Text without letter, digit or tag gives
    no piece.
    """
    joined: list[str] = []
    for piece in _spoken_parts(text):
        last = joined[-1] if joined else ""
        if last and (_is_short(last) or _is_short(piece)) and len(last) + 1 + len(piece) <= _LONGEST_PIECE:
            joined[-1] = f"{last} {piece}"
        else:
            joined.append(piece)
    return [piece + _PADDING if _is_short(piece) else piece for piece in joined]


def normalized(piece: str) -> str:
    """`piece`, which is not empty, by the rules of upstream's `punc_norm`: what the tokenizer is given."""
    if piece[0].islower():
        piece = piece[0].upper() + piece[1:]
    piece = " ".join(piece.split())
    for old, new in _REPLACED:
        piece = piece.replace(old, new)
    piece = piece.rstrip(" ")
    return piece if piece.endswith(_ENDS) else f"{piece}."


def speech_token_cap(text: str) -> int:
    """The most speech tokens, 25 a second, that saying `text` can take; past that the model rambles. 1000 at most."""
    words = without_tags(text)
    characters = len(words) + (_DIGIT_CHARACTERS - 1) * sum(map(str.isdigit, words))
    tags = len(TAG.findall(text))
    seconds = _SPARE_SECONDS + characters / _SLOWEST_CHARACTERS_PER_SECOND + _TAG_SECONDS * tags
    return min(_MOST_TOKENS, round(seconds * _TOKENS_PER_SECOND))


def _spoken_parts(text: str) -> Iterator[str]:
    for parts in sentence_parts(text, _LONGEST_PIECE):
        yield from (part for part in parts if any(map(str.isalnum, part)))


def _is_short(piece: str) -> bool:
    """Whether there are too few letters and digits in it; a tag is a single token and counts for none."""
    return sum(map(str.isalnum, without_tags(piece))) < _SHORTEST_PIECE
