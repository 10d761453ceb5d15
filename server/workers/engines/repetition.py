"""What Whisper repeats: in short windows whole utterances come twice, in noise the same words without end.

Pure functions over text.
"""

import re
import zlib

# Nobody says so many words twice in a row, numbers aside, but a recogniser does.
_PHRASE_WORDS = 4


def repeats_a_phrase(text: str) -> bool:
    """Whether three words or more come twice in a row. People do say that, so it only asks for a longer window."""
    words = re.findall(r"\w+", text.lower())
    return any(
        words[at : at + length] == words[at + length : at + 2 * length]
        for length in range(3, len(words) // 2 + 1)
        for at in range(len(words) - 2 * length + 1)
    )


def said_once(text: str, cut_off: bool) -> str:
    """`text` up to where it begins again, as often as there is room for it.

    `cut_off`: there was no more room, and what begins again may end in the middle of a word.
    """
    spoken = text.split()
    words = [re.sub(r"\W", "", word.lower()) for word in spoken]
    for length in range(2, len(words)):
        again, expected = words[length:], [words[at % length] for at in range(len(words) - length)]
        if cut_off:
            repeats = again[:-1] == expected[:-1] and expected[-1].startswith(again[-1])
        else:
            repeats = again == expected and (len(again) >= min(3, length) or ends_a_sentence(spoken[length - 1]))
        if repeats:
            return " ".join(spoken[:length])
    return text


def may_be_said_twice(text: str, once: str) -> bool:
    """Whether somebody may really have said `text`, of which `once` is left: a few words, or numbers."""
    words = [word for word in once.split() if not any(map(str.isdigit, word))]
    return once != text and len(words) < _PHRASE_WORDS


def ends_a_sentence(text: str) -> bool:
    """Whether `text` ends as a sentence does: what is begun again after its end does not."""
    return text.endswith((".", "?", "!"))


def different_words(text: str) -> set[str]:
    """The words of `text`, each once."""
    return set(re.findall(r"\w+", text.lower()))


def compression_ratio(text: str) -> float:
    """Text that repeats itself compresses well."""
    encoded = text.encode()
    return len(encoded) / len(zlib.compress(encoded))
