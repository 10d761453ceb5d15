"""Whisper on CTranslate2: a batch of windowed utterances in, texts out, or the gate that refused one.

Blocking: the micro-batcher calls it from `parallel` threads. It neither queues, cuts nor
retries; `server.workers.recognizer` does. faster-whisper is not used because its PyAV wheels carry GPL code.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import ctranslate2
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from server.audio.log_mel import SAMPLE_RATE, log_mel
from server.errors import VoicefleetError
from server.workers.engines.cublas import load_cublas
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

_CONTEXT_TOKENS = 448
_MAX_PROMPT_TOKENS = _CONTEXT_TOKENS // 2 - 1
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

    @property
    def batch_key(self) -> tuple[int, str, str, bool]:
        """Windows with the same key can be recognised together: CTranslate2 wants prompts of one length."""
        return self.seconds, self.language, self.prompt, self.short

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
class Recognition:
    """What was said; or, with `refused_by` naming a gate, why the text is not to be believed (then it is empty).

    `sure`: no longer window is likely to find anything else.
    """

    text: str
    refused_by: Gate = ""
    sure: bool = False


class WhisperEngine:
    """A Whisper model in CTranslate2's format: int8 on cpu, float16 on cuda."""

    def __init__(
        self, folder: Path, device: str = "auto", parallel: int = 1, threads: int = 1, beam_size: int = 1
    ) -> None:
        """`device` is auto, cpu or cuda. On the cpu, `parallel` batches run at once, each in so many `threads`."""
        self.device = _resolve(device)
        self.parallel = parallel if self.device == "cpu" else 1
        compute_type = "float16" if self.device == "cuda" else "int8"
        if self.device == "cuda":
            load_cublas()
        self._model = ctranslate2.models.Whisper(
            str(folder),
            device=self.device,
            compute_type=compute_type,
            inter_threads=self.parallel,
            intra_threads=threads,
        )
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._beam_size = beam_size
        self._ids: dict[str, int] = self._tokenizer.get_vocab()
        tagged = (_LANGUAGE.fullmatch(token) for token in self._ids) if self._model.is_multilingual else ()
        self.languages: Sequence[str] = sorted(found[1] for found in tagged if found) or ["en"]
        # -1: the model's own list of symbols that nobody speaks. Of the special tokens only the end may come.
        self._suppressed = [-1, *range(self._ids["<|endoftext|>"] + 1, len(self._ids))]

    def check_language(self, language: str) -> None:
        """Raises `UnknownLanguage`. Empty stands for detection, or for English where the model knows nothing else."""
        codes = language.split(",", len(self.languages)) if language else ()  # each once: what is more is not split off
        for code in codes:
            if code not in self.languages:
                known = "ISO 639-1 codes such as 'en' or 'de'" if self._model.is_multilingual else "only 'en'"
                raise UnknownLanguage(code[:16], known)

    def recognize(self, windows: Sequence[Window]) -> list[Recognition]:
        """The text of each of `windows`, which have one `batch_key`."""
        encoded = self._model.encode(ctranslate2.StorageView.from_array(self._features(windows)))
        prompts = self._prompts(encoded, windows)
        results = self._model.generate(
            encoded,
            prompts,
            beam_size=self._beam_size,
            max_length=min(_CONTEXT_TOKENS, len(prompts[0]) + max(window.max_tokens for window in windows)),
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=self._suppressed,
        )
        return [
            self._judge(window, result.sequences_ids[0], result.scores[0], result.no_speech_prob)
            for window, result in zip(windows, results, strict=True)
        ]

    def _features(self, windows: Sequence[Window]) -> NDArray[np.float32]:
        """`[batch, mels, frames]` float32."""
        length = windows[0].seconds * SAMPLE_RATE
        padded = (np.pad(window.samples, (0, length - len(window.samples))) for window in windows)
        return np.stack([log_mel(samples, self._model.n_mels) for samples in padded])

    def _prompts(self, encoded: ctranslate2.StorageView, windows: Sequence[Window]) -> list[list[int]]:
        """The decoder's first tokens for each window."""
        before: list[int] = []
        if windows[0].prompt:
            text = self._tokenizer.encode(" " + windows[0].prompt.strip(), add_special_tokens=False)
            before = [self._ids["<|startofprev|>"], *text.ids[-_MAX_PROMPT_TOKENS:]]
        start, no_timestamps = self._ids["<|startoftranscript|>"], self._ids["<|notimestamps|>"]
        if not self._model.is_multilingual:
            return [[*before, start, no_timestamps] for _ in windows]
        accepted = [f"<|{code}|>" for code in (windows[0].language or ",".join(self.languages)).split(",")]
        if len(accepted) == 1:
            languages = accepted * len(windows)
        else:
            languages = [
                next(token for token, _ in ranking if token in accepted)
                for ranking in self._model.detect_language(encoded)
            ]
        transcribe = self._ids["<|transcribe|>"]
        return [[*before, start, self._ids[language], transcribe, no_timestamps] for language in languages]

    def _judge(self, window: Window, tokens: list[int], score: float, no_speech_probability: float) -> Recognition:
        """`score` is the tokens' log probability, the closing one's included, over their number without it."""
        heard = text = _ANNOTATION.sub("", self._tokenizer.decode(tokens)).strip()
        full = len(tokens) >= window.max_tokens
        if window.short:
            text = said_once(heard, cut_off=full)
        mean_log_probability = score * len(tokens) / (len(tokens) + 1)
        if not any(character.isalnum() for character in text):
            return Recognition("", "no_speech")
        if any(no_speech_probability > above and mean_log_probability < below for above, below in _NO_SPEECH):
            return Recognition("", "no_speech")
        if no_speech_probability > _NO_SPEECH_BUT_THE_PROMPT and different_words(text) <= different_words(
            window.prompt
        ):
            return Recognition("", "no_speech")
        if compression_ratio(text) > _COMPRESSION_RATIO:
            return Recognition("", "repetition")
        if full and not window.short:
            return Recognition("", "repetition")
        if window.seconds < LONGEST_WINDOW and repeats_a_phrase(text):
            return Recognition("", "repetition")
        if mean_log_probability < _MEAN_LOG_PROBABILITY:
            return Recognition("", "log_prob")
        sure = (
            not full
            and not may_be_said_twice(heard, text)
            and ends_a_sentence(text)
            and no_speech_probability < _SURE_NO_SPEECH
            and mean_log_probability > _SURE_LOG_PROBABILITY
            and len(text.split()) >= _SURE_WORDS
        )
        return Recognition(text, sure=sure)


def _resolve(device: str) -> str:
    if device == "auto":
        return "cuda" if ctranslate2.get_cuda_device_count() > 0 else "cpu"
    return device
