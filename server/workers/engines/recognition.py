"""What every Whisper engine takes and gives: a window of audio, its text, and the gates that refuse one.

Pure. The gates see what a model says of a window, not the sound: `engines.utterance` has those that do.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from server.audio.log_mel import SAMPLE_RATE
from server.errors import VoicefleetError
from server.workers.engines.repetition import (
    compression_ratio,
    different_words,
    ends_a_sentence,
    may_be_said_twice,
    repeats_a_phrase,
    said_once,
)
from server.workers.engines.utterance import LONGEST_WINDOW

Gate = Literal["", "silence", "no_speech", "log_prob", "repetition"]

CONTEXT_TOKENS = 448
"""That Whisper's decoder can see: a prompt's, the few that start, and the text's."""

MAX_PROMPT_TOKENS = CONTEXT_TOKENS // 2 - 1

# The gates and their thresholds are openai/whisper's (`transcribe.py`), but for the second pair for no_speech: breaths
# and claps come out as "you" at 0.85 and -0.9 to -0.6, speech at a noisy telephone's worst stays under 0.76.
_NO_SPEECH = ((0.6, -1.0), (0.8, -0.5))  # probability of no speech above, mean log probability of the text below
# In noise, the words of a prompt come back, and surely: at 0.57 and above, log probability -0.5. Single digits on the
# telephone, with a prompt of all digits, stay at 0.54 and below.
_NO_SPEECH_BUT_THE_PROMPT = 0.55
_MEAN_LOG_PROBABILITY = -1.0
_COMPRESSION_RATIO = 2.4
# So sure, a short window makes as few errors as a long one (`tests.bench.stt_accuracy`). A word or two may always be a
# breath.
_SURE_NO_SPEECH, _SURE_LOG_PROBABILITY, _SURE_WORDS = 0.15, -0.25, 3

_PROMPT_CHARACTERS_PER_SECOND = 500  # the longest prompt takes as long as some four seconds of audio
# At least, and more for each second; digits read out fast reach 6.
_TOKENS = (16, 8)
_SHORT_TOKENS = (8, 6)

_LANGUAGE = re.compile(r"<\|([a-z]{2,3})\|>")
_ANNOTATION = re.compile(r"\[[^\]]*\]|\([^)]*\)|\*[^*]*\*|[♪♫]+")


class UnknownLanguage(VoicefleetError):
    """The model does not know the language."""

    def __init__(self, language: str, known: str) -> None:
        super().__init__(f"unknown language {language!r}; this model takes {known}")


@dataclass(frozen=True, slots=True)
class Window:
    """One thing to recognise: at most `seconds` of mono 16 kHz `samples` in -1..1, to be padded to that length."""

    samples: NDArray[np.float32]
    seconds: int
    language: str = ""  # ISO 639-1; a multilingual model detects it among several (comma-separated), or all if empty
    prompt: str = ""
    short: bool = False  # one of `SHORT_WINDOWS`, with their own rules
    probabilities: bool = False  # of the tokens are wanted, too

    @property
    def batch_key(self) -> tuple[int, str, str, bool, bool]:
        """Windows with the same key can be recognised together: CTranslate2 wants prompts of one length."""
        return self.seconds, self.language, self.prompt, self.short, self.probabilities

    @property
    def cost(self) -> float:
        """What it takes to recognise, in seconds of audio: the encoder sees the whole window, however little is in it,
        the decoder what is said, and the prompt."""
        return self.seconds + len(self.samples) / SAMPLE_RATE + len(self.prompt) / _PROMPT_CHARACTERS_PER_SECOND

    @property
    def max_tokens(self) -> int:
        """More text than this is not speech of that duration; in a short window, it is most likely said twice."""
        at_least, a_second = _SHORT_TOKENS if self.short else _TOKENS
        return at_least + a_second * len(self.samples) // SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a text, as the model wrote it: bytes of UTF-8, and the natural logarithm of its probability."""

    text: bytes
    log_probability: float


@dataclass(frozen=True, slots=True)
class Recognition:
    """What was said; or, with `refused_by` naming a gate, why the text is not to be believed (then it is empty).

    `sure`: no longer window is likely to find anything else. `guess`: the words that only the log probability refused.
    They are speech, and often the first of the right ones where a voice has just begun. `tokens` are those of the text,
    where their probabilities were asked for and the engine knows them.
    """

    text: str
    refused_by: Gate = ""
    sure: bool = False
    guess: str = ""
    tokens: tuple[Token, ...] = ()

    def with_tokens(self, tokens: Iterable[Token]) -> "Recognition":
        """With those of the `tokens` that make up the text, where that is their beginning."""
        kept, said, text = list[Token](), b"", self.text.encode()
        for token in tokens:
            if said.lstrip().startswith(text):
                break
            kept.append(token)
            said += token.text
        return replace(self, tokens=tuple(kept))


def languages_of(vocabulary: Iterable[str], is_multilingual: bool) -> Sequence[str]:
    """The languages (ISO 639-1) that a model has a token for; only English where it is not multilingual."""
    tagged = (_LANGUAGE.fullmatch(token) for token in vocabulary) if is_multilingual else ()
    return sorted(found[1] for found in tagged if found) or ["en"]


def check_language(language: str, known: Sequence[str]) -> None:
    """Raises `UnknownLanguage`. Empty stands for detection, or for English where the model knows nothing else."""
    codes = language.split(",", len(known)) if language else ()  # each once: what is more is not split off
    for code in codes:
        if code not in known:
            raise UnknownLanguage(code[:16], "ISO 639-1 codes such as 'en' or 'de'" if len(known) > 1 else "only 'en'")


def judge(
    window: Window, said: str, tokens: int, mean_log_probability: float, no_speech_probability: float
) -> Recognition:
    """Whether to believe that `said`, so many `tokens`, is what is heard in `window`.

    `mean_log_probability` is that of the tokens, the closing one's included.
    """
    heard = text = _ANNOTATION.sub("", said).strip()
    full = tokens >= window.max_tokens
    if window.short:
        text = said_once(heard, cut_off=full)
    if not any(character.isalnum() for character in text):
        return Recognition("", "no_speech")
    if any(no_speech_probability > above and mean_log_probability < below for above, below in _NO_SPEECH):
        return Recognition("", "no_speech")
    if no_speech_probability > _NO_SPEECH_BUT_THE_PROMPT and _is_of_the_prompt(text, window.prompt):
        return Recognition("", "no_speech")
    if compression_ratio(text) > _COMPRESSION_RATIO:
        return Recognition("", "repetition")
    if full and not window.short:
        return Recognition("", "repetition")
    if window.seconds < LONGEST_WINDOW and repeats_a_phrase(text):
        return Recognition("", "repetition")
    if mean_log_probability < _MEAN_LOG_PROBABILITY:
        return Recognition("", "log_prob", guess=text)
    sure = (
        not full
        and not may_be_said_twice(heard, text)
        and ends_a_sentence(text)
        and no_speech_probability < _SURE_NO_SPEECH
        and mean_log_probability > _SURE_LOG_PROBABILITY
        and len(text.split()) >= _SURE_WORDS
    )
    return Recognition(text, sure=sure)


def _is_of_the_prompt(text: str, prompt: str) -> bool:
    """Whether each word of `text` begins one of the prompt: the last one may be cut off."""
    known = different_words(prompt)
    return all(any(other.startswith(word) for other in known) for word in different_words(text))
