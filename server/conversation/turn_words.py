"""What the words so far say about the end of a turn: left open, being spelled, or none of these.

Pure. Whisper's own punctuation counts for little: it closes every fragment with a full stop.
"""

import re
from typing import Literal

from server.conversation.backchannels import is_backchannel, is_command, words_of

Ending = Literal["none", "open", "spelling", "plain"]
"""No words; a sentence that has to go on; digits or letters one by one, of which more may follow; anything else."""

# Nobody ends a turn on these. What can end a sentence ("in", "on") or be one ("maybe", "I think so") is not here.
_OPEN_WORDS = {
    "en": (
        "a an the and or but because if whether although unless until than as my your its our their to of for from with"
        " into is are was were am be can could would should will i'd i'll i'm we're um uh er erm let's gonna wanna"
    ),
    "de": (
        "der die das ein eine einen einem einer und oder aber weil wenn dass ob als mein meine dein ihr ihre unser zu"
        " von für mit aus bei nach ist sind war äh ähm hm"
    ),
    "fr": (
        "le la les un une des et ou mais parce que quand mon ma mes ton votre notre à de du pour avec dans chez est"
        " sont euh ben très je"
    ),
    "es": (
        "el la los las un una y o pero porque que cuando mi tu su nuestro a de del para con en por es son eh este"
        " pues muy"
    ),
    "it": ("il lo la i gli le un una e o ma perché che se quando mio tua suo a di del per con in da è sono ehm"),
    "pt": ("o a os as um uma e ou mas porque que se quando meu minha seu sua de do da para com em por é são hum"),
    "nl": (
        "de het een en of maar omdat als dat wanneer mijn jouw zijn haar ons naar van voor met uit bij is zijn was eh"
        " uhm"
    ),
}
# "Yes, it is.", "I would.", "Who is it from?": then they are the last words after all; but not where they are all that
# was said, unless it was in answer to a question. Of "How long does it take to", Whisper makes a question, too.
_CLOSED = re.compile(
    r"\b(?:i|you|he|she|it|we|they|that|this|there) (?:is|are|was|were|am|be|can|could|would|should|will)\W*$"
    r"|\b(?:of|for|from|with|is|are|was|were)\?$"
    r"|\b(?:who|whom|what|which|where)\b.*\bto\?$"
)
# "When you hear the bell." has its main clause still to come, which a comma would have parted from it.
_CLAUSE_BEFORE_THE_MAIN_ONE = re.compile(
    r"(?:^|[.!?] )(?:if|when|whenever|while|although|unless|until|because)\b[^,.!?]*[.!]?$"
)
# Of whole turns nearly all have as many words. The fewer there are, the likelier more come, as fitted; but a caller's
# short request is not to be waited for as long as that.
_WORDS_OF_A_TURN, _MOST_WORDS_MISSING = 6, 2
_GREETING = re.compile(r"(?:hi|hello|hey|good (?:morning|afternoon|evening)|goodbye)\b", re.IGNORECASE)
# "Tell me a story." is a whole request; of what has to go on ("Tell me about the"), the last word says so.
_REQUEST = re.compile(
    r"(?:please )?(?:tell|show|give|send|get|find|read|repeat|explain|play|start|open|close|turn|set|change|make|book"
    r"|cancel|call|transfer|connect|remind|put|let) \w+ \w+",
    re.IGNORECASE,
)
_DIGIT_WORD = re.compile(r"zero|oh|one|two|three|four|five|six|seven|eight|nine|double|triple")
# More of these follow one another only where something is read out.
_SPELLED = re.compile(r"\d+|[a-z]")
_AS_IN = re.compile(r"\b[a-z] (?:as in|(?:as in|like|for) \w+)$")
_ASKS_FOR_MORE_THAN_ONE = re.compile(
    r"\b(?:number|numbers|digits|spell|spelling|letters|code|zip|postcode|postal|email|e-mail|reference|account|card|plate"
    r"|date of birth|address)\b"
)
_TOKEN = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")  # noqa: RUF001  # both apostrophes


def ending_of(words: str, asked: str = "", language: str = "") -> Ending:
    """How `words` end; `asked` is what was said to the caller just before, `language` ISO 639-1 (empty: English)."""
    text = words.lower().replace("’", "'").strip()  # noqa: RUF001
    tokens = _TOKEN.findall(text)
    if not tokens:
        return "none"
    if _is_spelling(tokens, asked):
        return "spelling"
    if text.endswith(("-", "...", "…", ",")):
        return "open"
    if _in_english(language) and not _answers(text, asked) and _CLAUSE_BEFORE_THE_MAIN_ONE.search(text):
        return "open"
    left_open = tokens[-1] in _OPEN_WORDS.get(language or "en", "").split()
    closed = _CLOSED.search(text)
    only_the_beginning = closed and closed.start() == 0 and not _answers(text, asked)
    return "open" if left_open and (only_the_beginning or not closed) else "plain"


def words_missing(words: str, asked: str = "", language: str = "") -> int:
    """By how many words (up to 2) `words` are fewer than most turns have; 0 where their number says nothing.

    A few words are mostly the beginning of more ("Please", "I'm sorry"), but not where they answer or ask a question,
    are a request, or of those that are said alone ("okay", "stop", "hi there"). Known of English.
    """
    if not _in_english(language) or not words.isascii() or _answers(words, asked):
        return 0
    alone = words_of(words)
    if is_backchannel(alone, "en") or is_command(alone, "en") or _GREETING.match(words) or _REQUEST.match(words):
        return 0
    return min(max(0, _WORDS_OF_A_TURN - len(_TOKEN.findall(words))), _MOST_WORDS_MISSING)


def folded(text: str) -> str:
    """The words of `text`, the same however they are written: "touch-tone", "Touch Tone."."""
    return "".join(filter(str.isalnum, text.casefold()))


def _in_english(language: str) -> bool:
    return language in ("", "en")


def _answers(words: str, asked: str) -> bool:
    """Whether few words, or half a sentence, may be all: in answer to a question, or as one."""
    return "?" in asked or words.endswith("?")


def _is_spelling(tokens: list[str], asked: str) -> bool:
    spelled = 0
    for token in reversed(tokens):
        one_by_one = _SPELLED.fullmatch(token) or _DIGIT_WORD.fullmatch(token)
        if not one_by_one or (token in ("a", "i") and not spelled):
            break
        spelled += 1
    if _AS_IN.search(" ".join(tokens)):
        return True
    if spelled == 1:  # and more may follow, unless it answers a question such as "How many?"
        only = len(tokens) == 1 and "?" not in asked
        return only or bool(_ASKS_FOR_MORE_THAN_ONE.search(asked.lower()))
    return spelled > 1
