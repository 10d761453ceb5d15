"""Words by which a listener says "go on", and words by which a caller says "stop".

Pure. By language (ISO 639-1); one without a list of its own has the hums and "okay", which everybody uses. Words are
compared as `words_of` writes them.
"""

import re
from collections.abc import Sequence
from functools import cache
from unicodedata import normalize

_PHRASES = {
    "": "ok, okay",
    "en": "yeah, yep, yup, yes, right, sure, alright, all right, i see, got it, gotcha, i know, of course, go on, "
    "go ahead, really, great, good, cool, nice, fine, exactly, absolutely, true, thats right, thats true, "
    "thats all right, makes sense, fair enough, wow, i understand, understood, indeed, definitely, perfect, "
    "thank you, thanks, it has, it hurts",  # as Whisper hears "uh-huh"
    "de": "ja, jaja, jo, genau, stimmt, klar, richtig, ach so, achso, ach ja, verstehe, ich verstehe, gut, "
    "alles klar, in ordnung, natürlich, eben, sicher, na klar, schön, super, gerne, danke, danke schön",
    "fr": "oui, ouais, daccord, bien sûr, voilà, je vois, ah bon, ah oui, cest ça, exact, exactement, entendu, bien, "
    "très bien, je comprends, ça marche, tout à fait, parfait, merci",
    "es": "sí, si, claro, vale, ya, ajá, entiendo, ya veo, bueno, bien, de acuerdo, exacto, correcto, perfecto, "
    "por supuesto, muy bien, cierto, gracias",
    "it": "sì, si, certo, va bene, capisco, ho capito, capito, esatto, giusto, già, bene, daccordo, perfetto, "
    "certamente, ah ecco, grazie",
    "pt": "sim, certo, claro, tá, tá bom, pois, pois é, entendi, percebo, isso, exato, está bem, tudo bem, "
    "com certeza, perfeito, beleza, compreendo, obrigado, obrigada",
    "nl": "ja, jaja, oké, oke, precies, klopt, juist, goed, snap ik, ik snap het, inderdaad, begrijp ik, natuurlijk, "
    "zeker, duidelijk, prima, dank je, bedankt",
}
_COMMANDS = {
    "": "stop",
    "en": "wait, no, nope, hold on, hang on, pause, quiet, enough, cancel, sorry, hello, hey, stop it, stop that, "
    "stop talking, stop please, please stop, please wait, wait a minute, wait a second, wait a moment, one moment, "
    "one second, just a moment, just a second, be quiet, shut up, thats enough, never mind, no thanks, no thank you",
    "de": "stopp, halt, warte, warten, moment, nein, nee, ruhe, hallo",
    "fr": "arrête, arrêtez, attends, attendez, non, pardon, allô",
    "es": "para, pare, espera, espere, alto, no, basta, oiga, oye",
    "it": "ferma, fermo, fermati, aspetta, aspetti, basta, no, scusi, scusa",
    "pt": "para, pare, espera, espere, não, chega, desculpe",
    "nl": "wacht, nee, ho, genoeg, hallo",
}
# mm, mhm, uh-huh, hmm, ah, oh, aha, um: recognisers spell them in many ways.
_HUM = re.compile(
    r"m+|h+m+|m+h+m*|m+hu+m+|u+h+|u+h+h?u+h+|u+h?m+|a+h+|a+ha+h*|o+h*|e+h+|e+r+m?|h[uae]h|[äö]h?m*h?|hu+m+"
)
# What Whisper hears in noise, and nobody says alone.
_OF_NOISE = (["you"], ["bye"], ["bye", "bye"])
# What Whisper hears in the beginning of "uh-huh", "got it", "cool", "wow" and "makes sense".
_HEARD_IN_FRAGMENTS = frozenset({"it", "its", "a", "god", "go", "come", "well", "make", "makes"})
# Who says more "go on" than this in one breath wants the floor.
_LONGEST_ROW = 5


def words_of(text: str) -> list[str]:
    """The words of `text` in small letters, without marks: "Mm-hmm, that's" is mmhmm, thats. None for what noise is
    taken for."""
    joined = re.sub(r"['’\-]", "", normalize("NFC", text).lower())  # noqa: RUF001  # both apostrophes are written
    words = re.findall(r"\w+", joined)
    return [] if words in _OF_NOISE else words


def is_command(words: Sequence[str], language: str) -> bool:
    """Whether the caller says nothing but words such as "stop" and "wait"."""
    return any(not _HUM.fullmatch(word) for word in words) and _is_row(words, _table(language)[1])


def is_backchannel(words: Sequence[str], language: str) -> bool:
    """Whether the words only say that one listens. `language` may be several codes; empty: any of those known."""
    return 0 < len(words) <= _LONGEST_ROW and _is_row(words, _table(language)[0])


def may_become_backchannel(words: Sequence[str], language: str) -> bool:
    """Whether that could be the beginning of one, heard before it was over: "I" of "I see", "al" of "alright".

    Of two words the second may be a guess at a fragment: "you" at the end of "yeah", "I think" at "I see".
    """
    phrases, commands = _table(language)
    if not commands.isdisjoint(words):
        return False
    if words[0] in _HEARD_IN_FRAGMENTS:
        return len(set(words)) <= 2
    if len(words) == 2:
        if is_backchannel(words[:1], language):
            return True
        guess = "s" if words == ["i", "think"] else words[1][0]
        words = [words[0], guess]
    for cut in range(len(words)):
        rest = " ".join(words[cut:])
        begins = len(rest) == 1 or any(phrase.startswith(rest) for phrase in phrases)
        if begins and _is_row(words[:cut], phrases):
            return True
    return False


def _is_row(words: Sequence[str], phrases: frozenset[str]) -> bool:
    """Whether the words are phrases and hums, one after the other, or none at all."""
    if not words:
        return True
    return any(
        _is_row(words[size:], phrases)
        for size in range(1, min(3, len(words)) + 1)
        if " ".join(words[:size]) in phrases or (size == 1 and _HUM.fullmatch(words[0]))
    )


@cache
def _table(language: str) -> tuple[frozenset[str], frozenset[str]]:
    """Backchannels and commands in the languages of comma-separated codes."""
    codes = {"", *(code.strip() for code in language.split(","))} if language else set(_PHRASES)
    backchannels, commands = (
        frozenset(phrase for code in codes for phrase in table.get(code, "").split(", ") if phrase)
        for table in (_PHRASES, _COMMANDS)
    )
    return backchannels, commands
