"""What `FasterWhisperEngine` asks of the package and makes of what it says; the package is a stand-in."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from server.workers.engine import EngineMissing
from server.workers.engines import faster_whisper
from server.workers.engines.faster_whisper import FasterWhisperEngine
from server.workers.engines.recognition import Recognition, UnknownLanguage, Window

_LANGUAGES = ("de", "en", "fr")
_SAMPLES = np.zeros(16_000, np.float32)


def _segment(text: str, log_probability: float = -0.1, no_speech: float = 0.01) -> SimpleNamespace:
    return SimpleNamespace(text=text, tokens=[1] * 5, avg_logprob=log_probability, no_speech_prob=no_speech)


class _Model:
    """A multilingual `WhisperModel` that says `segments` and hears a French that could be German."""

    def __init__(self, folder: str, **how: object) -> None:
        self.loaded = (folder, how)
        self.asked: list[dict[str, Any]] = []
        self.segments: list[SimpleNamespace] = []
        self.model = SimpleNamespace(is_multilingual=True)
        vocabulary = {f"<|{code}|>": number for number, code in enumerate(_LANGUAGES)}
        self.hf_tokenizer = SimpleNamespace(get_vocab=lambda: vocabulary)

    def transcribe(self, samples: NDArray[np.float32], **options: object) -> tuple[list[SimpleNamespace], None]:
        self.asked.append(options)
        return self.segments, None

    def detect_language(self, samples: NDArray[np.float32]) -> tuple[str, float, list[tuple[str, float]]]:
        return "fr", 0.7, [("fr", 0.7), ("de", 0.2), ("en", 0.1)]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FasterWhisperEngine:
    monkeypatch.setattr(faster_whisper, "library", lambda: SimpleNamespace(WhisperModel=_Model))
    return FasterWhisperEngine(Path("/models/own"), "cpu", parallel=2)


def _hear(engine: FasterWhisperEngine, *segments: SimpleNamespace, **window: Any) -> Recognition:
    engine._model.segments = list(segments)
    of_all: dict[str, Any] = {"samples": _SAMPLES, "seconds": 15}
    return engine.recognize([Window(**of_all | window)])[0]


def test_it_loads_the_folder_that_it_is_given_as_our_own_engine_does(engine: FasterWhisperEngine) -> None:
    how = {"device": "cpu", "compute_type": "int8", "num_workers": 2, "cpu_threads": 1}
    assert engine._model.loaded == ("/models/own", how)
    assert (engine.parallel, engine.max_batch, engine.languages) == (2, 1, list(_LANGUAGES))


def test_its_segments_are_one_text_and_a_longer_window_would_be_the_same_to_it(engine: FasterWhisperEngine) -> None:
    heard = _hear(engine, _segment(" Hello."), _segment(" Is Ann in?"), short=True)
    assert heard == Recognition("Hello. Is Ann in?", sure=True)


@pytest.mark.parametrize(
    ("segments", "gate"),
    [
        ([], "no_speech"),
        ([_segment(" you", -0.7, 0.85)], "no_speech"),
        ([_segment(" Thank you.", -1.2)], "log_prob"),
        ([_segment(" la" * 60)], "repetition"),
    ],
    ids=["nothing", "a breath", "doubt", "a loop"],
)
def test_what_it_says_passes_our_gates(engine: FasterWhisperEngine, segments: list[SimpleNamespace], gate: str) -> None:
    heard = _hear(engine, *segments)
    assert (heard.text, heard.refused_by, heard.sure) == ("", gate, True)


def test_a_segment_that_is_refused_leaves_the_rest(engine: FasterWhisperEngine) -> None:
    assert _hear(engine, _segment(" Hello."), _segment(" you", -0.7, 0.85)).text == "Hello."


@pytest.mark.parametrize(("language", "heard_as"), [("", "fr"), ("de,en", "de"), ("en", "en")])
def test_of_the_languages_that_are_accepted_the_likeliest_is_heard(
    engine: FasterWhisperEngine, language: str, heard_as: str
) -> None:
    _hear(engine, _segment(" Oui."), language=language)
    assert engine._model.asked[0]["language"] == heard_as


def test_a_language_that_the_model_lacks_is_refused(engine: FasterWhisperEngine) -> None:
    with pytest.raises(UnknownLanguage, match="unknown language 'tlh'"):
        engine.check_language("de,tlh")


@pytest.mark.parametrize(("seconds", "tokens"), [(1, 24), (30, 220)])
def test_no_more_tokens_are_asked_for_than_speech_has_or_the_decoder_sees_beside_a_prompt(
    engine: FasterWhisperEngine, seconds: int, tokens: int
) -> None:
    _hear(engine, _segment(" Hello."), samples=np.zeros(seconds * 16_000, np.float32), prompt="Asterisk")
    assert engine._model.asked[0]["max_new_tokens"] == tokens
    assert engine._model.asked[0]["initial_prompt"] == "Asterisk"


def test_without_the_package_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faster_whisper, "find_spec", lambda name: None)
    with pytest.raises(EngineMissing, match="`make whisper` installs it"):
        FasterWhisperEngine(Path("/models/own"), "cpu")
