"""smart-turn's features, against those of its authors' own package."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from server.audio.log_mel import SAMPLE_RATE
from server.audio.smart_turn_features import WINDOW_SAMPLES, smart_turn_features
from server.models.catalogue import Model, ModelFile, Wheels
from server.models.store import ModelStore
from server.smart_turn_processor import SmartTurnProcessor
from server.workers.engines.utterance import decode
from tests.support.clips import BUNDLED, read_clips
from tests.support.speech import model_folder

Extractor = Callable[[NDArray[np.float32]], NDArray[np.float32]]

MODULE = "_whisper_features.py"
PIPECAT = Model(
    name="pipecat-features",
    purpose="features of smart-turn",
    licence="BSD-2-Clause",
    files=(ModelFile(MODULE, 7221, "139b047d10dee42ad5b4894489012e515a882d8f5e2bffe8ad27b30728fc9968"),),
    sources=(Wheels(("pipecat-ai==1.14.0",), {MODULE: (f"pipecat/audio/turn/smart_turn/{MODULE}",)}),),
)


@pytest.fixture(scope="module")
def pipecat(tmp_path_factory: pytest.TempPathFactory) -> Extractor:
    """pipecat's extractor, a module that needs nothing but numpy, from the wheel that the model comes in."""
    folder = ModelStore(tmp_path_factory.mktemp("pipecat"), catalogue={PIPECAT.name: PIPECAT}).pull(PIPECAT.name)
    return _load(folder / MODULE)


def _load(path: Path) -> Extractor:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    extract: Extractor = module.compute_whisper_log_mel_features
    return extract


@pytest.mark.parametrize("seconds", [0.0, 0.02, 1.7, 8.0, 11.3])
def test_features_and_answer_are_those_of_the_authors(pipecat: Extractor, seconds: float) -> None:
    smart_turn = SmartTurnProcessor(model_folder("smart-turn-v3.2") / "smart-turn-v3.2-cpu.onnx")
    pcm = b"".join(clip.pcm for clip in read_clips(BUNDLED))[: 2 * round(seconds * SAMPLE_RATE)]
    samples = decode(pcm)
    recent = samples[-WINDOW_SAMPLES:]

    ours, theirs = smart_turn_features(samples), pipecat(np.pad(recent, (WINDOW_SAMPLES - len(recent), 0)))

    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert smart_turn._infer(ours) == pytest.approx(smart_turn._infer(theirs), abs=1e-3)
