"""Whisper on CTranslate2: a batch of windowed utterances in, texts out, or the gate that refused one.

Blocking: the micro-batcher calls it from `parallel` threads. It neither queues, cuts nor retries;
`server.workers.recognizer` does.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import ctranslate2
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from server.audio.log_mel import HOP, SAMPLE_RATE, log_mel
from server.workers.engines.cublas import load_cublas
from server.workers.engines.recognition import (
    CONTEXT_TOKENS,
    MAX_PROMPT_TOKENS,
    Recognition,
    Token,
    Window,
    check_language,
    judge,
    languages_of,
)

BEAM_SIZE = 2
"""Texts that are followed at once. With one, a tenth more words are wrong on the telephone and in noise, for little
less of the processor (`tests.bench.stt_engines`)."""

# On a cpu, four utterances of 15 s in one batch take a third more of the processor than one after the other, and their
# first waits for their last.
_MAX_BATCH = {"cpu": 1, "cuda": 16}
# There, starting a kernel takes longer than the kernel: while one batch computes, another is begun. Reckoned, not
# measured: `tests.bench.recognition_batches`.
_PARALLEL_ON_CUDA = 2
_LEAST_PROBABILITY = 1e-10
# Tokens are written in letters that stand for bytes, as GPT-2's are: printable ones for themselves, the rest in order
# from U+0100 on.
_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_OTHERS = [byte for byte in range(0x100) if byte not in _PRINTABLE]
_BYTES = {chr(byte): byte for byte in _PRINTABLE} | {chr(0x100 + place): byte for place, byte in enumerate(_OTHERS)}


class WhisperEngine:
    """A Whisper model in CTranslate2's format: int8 on cpu, float16 on cuda."""

    def __init__(
        self, folder: Path, device: str = "auto", parallel: int = 1, threads: int = 1, beam_size: int = BEAM_SIZE
    ) -> None:
        """`device` is auto, cpu or cuda. On the cpu, `parallel` batches run at once, each in so many `threads`."""
        device, compute_type = placed(device)
        self.parallel = parallel if device == "cpu" else _PARALLEL_ON_CUDA
        self.max_batch = _MAX_BATCH[device]
        self._model = ctranslate2.models.Whisper(
            str(folder), device=device, compute_type=compute_type, inter_threads=self.parallel, intra_threads=threads
        )
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._beam_size = beam_size
        self._ids: dict[str, int] = self._tokenizer.get_vocab()
        self.languages = languages_of(self._ids, self._model.is_multilingual)
        # -1: the model's own list of symbols that nobody speaks. Of the special tokens only the end may come.
        self._suppressed = [-1, *range(self._ids["<|endoftext|>"] + 1, len(self._ids))]

    def check_language(self, language: str) -> None:
        """See `check_language`."""
        check_language(language, self.languages)

    def recognize(self, windows: Sequence[Window]) -> list[Recognition]:
        """The text of each of `windows`, which have one `batch_key`."""
        encoded = self._model.encode(ctranslate2.StorageView.from_array(self._features(windows)))
        prompts = self._prompts(encoded, windows)
        results = self._model.generate(
            encoded,
            prompts,
            beam_size=self._beam_size,
            max_length=min(CONTEXT_TOKENS, len(prompts[0]) + max(window.max_tokens for window in windows)),
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=self._suppressed,
        )
        judged = [
            self._judge(window, result.sequences_ids[0], result.scores[0], result.no_speech_prob)
            for window, result in zip(windows, results, strict=True)
        ]
        if windows[0].probabilities:
            texts = [result.sequences_ids[0] for result in results]
            tokens = self._tokens(encoded, prompts[0], windows, texts)
            return [recognition.with_tokens(row) for recognition, row in zip(judged, tokens, strict=True)]
        return judged

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
            before = [self._ids["<|startofprev|>"], *text.ids[-MAX_PROMPT_TOKENS:]]
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

    def _tokens(
        self, encoded: ctranslate2.StorageView, prompt: list[int], windows: Sequence[Window], texts: list[list[int]]
    ) -> Iterator[list[Token]]:
        """The tokens of each text with their probabilities, which beam search does not tell.

        In a batch of several languages they are reckoned as those of the first one's.
        """
        start = prompt[prompt.index(self._ids["<|startoftranscript|>"]) : -1]
        frames = [len(window.samples) // HOP for window in windows]
        for ids, aligned in zip(texts, self._model.align(encoded, start, texts, frames), strict=True):
            pieces = (self._tokenizer.id_to_token(token) or "" for token in ids)
            yield [
                Token(token_bytes(piece), math.log(max(probability, _LEAST_PROBABILITY)))
                for piece, probability in zip(pieces, aligned.text_token_probs, strict=False)
            ]

    def _judge(self, window: Window, tokens: list[int], score: float, no_speech_probability: float) -> Recognition:
        """`score` is the tokens' log probability, the closing one's included, over their number without it."""
        mean_log_probability = score * len(tokens) / (len(tokens) + 1)
        return judge(window, self._tokenizer.decode(tokens), len(tokens), mean_log_probability, no_speech_probability)


def token_bytes(piece: str) -> bytes:
    """What a token of the model's vocabulary stands for: UTF-8, perhaps only a part of a character."""
    return bytes(_BYTES[character] for character in piece)


def placed(device: str) -> tuple[str, str]:
    """Where CTranslate2 is to compute, cpu or cuda, and in which type; for cuda, cuBLAS is loaded.

    `device` is auto, cpu or cuda.
    """
    if device == "auto":
        device = "cuda" if ctranslate2.get_cuda_device_count() > 0 else "cpu"
    if device == "cpu":
        return device, "int8"
    load_cublas()
    return device, "float16"
