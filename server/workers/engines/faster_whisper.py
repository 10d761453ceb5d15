"""The package faster-whisper in place of our own use of CTranslate2: an extra, to compare with or to fall back on.

It gets the same windows, and what it says passes the same gates. But it pads each utterance to 30 s by itself and hears
one after the other, so that short windows and batches gain nothing. Its own batches leave timestamps out, and lose
words of longer utterances.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from server.workers.engine import EngineMissing
from server.workers.engines.recognition import (
    CONTEXT_TOKENS,
    MAX_PROMPT_TOKENS,
    Recognition,
    Window,
    check_language,
    judge,
    languages_of,
)
from server.workers.engines.utterance import LONGEST_WINDOW
from server.workers.engines.whisper import BEAM_SIZE, placed

# It raises an error where prompt and text could be more than the decoder sees. Before both come up to five tokens.
_MOST_TOKENS = CONTEXT_TOKENS - MAX_PROMPT_TOKENS - 5


class FasterWhisperEngine:
    """A Whisper model in CTranslate2's format, run by faster-whisper: int8 on cpu, float16 on cuda."""

    max_batch = 1

    def __init__(self, folder: Path, device: str = "auto", parallel: int = 1, beam_size: int = BEAM_SIZE) -> None:
        """As `WhisperEngine`. The folder has every file that is needed: nothing is fetched. Raises `EngineMissing`."""
        device, compute_type = placed(device)
        self.parallel = parallel if device == "cpu" else 1
        self._model = library().WhisperModel(
            str(folder), device=device, compute_type=compute_type, num_workers=self.parallel, cpu_threads=1
        )
        self._beam_size = beam_size
        self.languages = languages_of(self._model.hf_tokenizer.get_vocab(), self._model.model.is_multilingual)

    def check_language(self, language: str) -> None:
        """See `check_language`."""
        check_language(language, self.languages)

    def recognize(self, windows: Sequence[Window]) -> list[Recognition]:
        """The text of each of `windows`."""
        return [self._recognize(window) for window in windows]

    def _recognize(self, window: Window) -> Recognition:
        """What it says of 30 s is all that it can say: a longer window would be the same to it."""
        window = replace(window, seconds=LONGEST_WINDOW, short=False)
        segments, _ = self._model.transcribe(
            window.samples,
            language=self._language(window),
            initial_prompt=window.prompt or None,
            beam_size=self._beam_size,
            max_new_tokens=min(window.max_tokens, _MOST_TOKENS),
        )
        judged = [
            judge(window, segment.text, len(segment.tokens), segment.avg_logprob, segment.no_speech_prob)
            for segment in segments
        ]
        text = " ".join(recognition.text for recognition in judged if recognition.text)
        refused_by = "" if text else judged[0].refused_by if judged else "no_speech"
        return Recognition(text, refused_by, sure=True)

    def _language(self, window: Window) -> str:
        accepted = window.language.split(",") if window.language else self.languages
        if len(accepted) == 1:
            return accepted[0]
        _, _, ranking = self._model.detect_language(window.samples)
        likeliest: str = next(code for code, _ in ranking if code in accepted)
        return likeliest


def library() -> Any:
    """The package `faster_whisper`. Raises `EngineMissing` where it is not installed.

    It imports PyAV, to decode files, which nobody asks of it here. Where that is left out (requirements/overrides.in),
    an empty module takes its place for as long as the import lasts.
    """
    if find_spec("faster_whisper") is None:
        raise EngineMissing("faster-whisper", "faster_whisper")
    without_pyav = "av" not in sys.modules and find_spec("av") is None
    if without_pyav:
        sys.modules["av"] = ModuleType("av")
    try:
        import faster_whisper  # noqa: PLC0415  # an extra
    finally:
        if without_pyav:
            del sys.modules["av"]
    return faster_whisper
