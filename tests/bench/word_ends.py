"""Where each word of a recording ends, by aligning its text with Whisper's attention.

Source: openai/whisper, `timing.py` (dynamic time warping over the alignment heads), as CTranslate2 has it. That is
right to some 0.1 s, so an end is moved to the quietest moment near it.
"""

from pathlib import Path
from typing import NamedTuple

import ctranslate2
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from server.audio.log_mel import SAMPLE_RATE, log_mel
from server.conversation.turn_words import folded

_ALIGNED_SECONDS = 0.02
_WINDOW_SECONDS = 30
_FRAME = SAMPLE_RATE // 100
_NEAR_FRAMES = 8


class WordEnd(NamedTuple):
    """A word, without punctuation and capitals, and when it ends, in seconds."""

    word: str
    at: float


class WordEnds:
    """Aligns texts with what is said."""

    def __init__(self, folder: Path) -> None:
        """`folder` holds an English Whisper in CTranslate2's format."""
        self._model = ctranslate2.models.Whisper(str(folder), device="cpu", compute_type="int8")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def find(self, pcm: bytes, text: str) -> list[WordEnd]:
        """The words of `text` but the last one, in 16-bit mono PCM at 16 kHz of at most 30 s."""
        samples = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)
        padded = np.pad(samples, (0, _WINDOW_SECONDS * SAMPLE_RATE - len(samples)))
        features = ctranslate2.StorageView.from_array(log_mel(padded, self._model.n_mels)[np.newaxis])
        tokens = self._tokenizer.encode(" " + text, add_special_tokens=False).ids
        start = [self._tokenizer.token_to_id("<|startoftranscript|>")]
        frames = len(samples) // (SAMPLE_RATE // 100)
        [aligned] = self._model.align(features, start, [tokens], frames)
        began: dict[int, int] = {}
        for token, frame in aligned.alignments:
            began.setdefault(token, frame)
        found, word = [], ""
        for index, token in enumerate(tokens):
            piece = self._tokenizer.decode([token])
            if piece.startswith(" ") and word and index in began:
                found.append(WordEnd(folded(word), _quietest(samples, began[index] * _ALIGNED_SECONDS)))
                word = ""
            word += piece
        return found


def _quietest(samples: NDArray[np.float32], near: float) -> float:
    """The quietest 10 ms within 80 ms of a time; all in seconds."""
    frames = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME)
    first = max(0, round(near * SAMPLE_RATE / _FRAME) - _NEAR_FRAMES)
    power = (frames[first : first + 2 * _NEAR_FRAMES + 1] ** 2).mean(axis=1)
    return (first + int(power.argmin())) * _FRAME / SAMPLE_RATE
