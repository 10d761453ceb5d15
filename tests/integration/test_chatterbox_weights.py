"""Chatterbox with its trained weights, where they are. The CPU voice, whose weights are everywhere, does the same."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import numpy as np
import perth
import pytest
import torch

from server.models import store
from server.models.catalogue import TTS_MODELS, Catalogue
from server.models.store import ModelStore, State
from server.settings.loading import load_settings
from server.workers.engine import TtsEngine
from server.workers.engines.chatterbox.checkpoint import S3GEN_FILE
from server.workers.engines.chatterbox.loading import NoVoice
from server.workers.tts_worker import load_engine
from tests.support.models import file, model
from tests.support.round_trip import check_speech, recognizer
from tests.support.speech import model_folder
from tests.support.speech_workers import ToneEngine

MODEL = TTS_MODELS["chatterbox"]


@asynccontextmanager
async def _warm(engine: TtsEngine) -> AsyncIterator[TtsEngine]:
    await engine.warm_up()
    try:
        yield engine
    finally:
        await engine.close()


async def test_the_trained_voice_is_understood_and_marked() -> None:
    settings = load_settings(tts="chatterbox", tts_device="cuda" if torch.cuda.is_available() else "cpu")
    if ModelStore.from_settings(settings).status(MODEL) is State.MISSING:
        pytest.skip(f"the weights of {MODEL} are not here (3 GB); `voicefleet models pull {MODEL}` fetches them")
    detector = perth.PerthImplicitWatermarker()
    async with recognizer(model_folder("tiny.en")) as listener, _warm(load_engine(settings)) as engine:
        for speech in await check_speech(engine, listener):
            samples = np.frombuffer(speech.pcm, "<i2").astype(np.float32) / 32768
            assert detector.get_watermark(samples, sample_rate=speech.sample_rate) == 1.0


async def test_the_cpu_voice_is_understood() -> None:
    model_folder(TTS_MODELS["hibari"])
    engine = load_engine(load_settings(tts="hibari"))
    async with recognizer(model_folder("tiny.en")) as listener, _warm(engine):
        assert len(await check_speech(engine, listener)) == 2


async def test_what_is_no_speech_passes_no_check() -> None:
    async with recognizer(model_folder("tiny.en")) as listener:
        with pytest.raises(AssertionError, match="understood"):
            await check_speech(ToneEngine(), listener)


def test_the_engine_that_is_named_is_the_one_that_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as it goes without weights: before it reads them, it looks for a voice."""
    contents = {name: name.encode() for name in ("ve.safetensors", S3GEN_FILE)}
    files = tuple(file(name, content) for name, content in contents.items())
    known: Catalogue = {MODEL: msgspec.structs.replace(model(files=files), name=MODEL)}
    monkeypatch.setattr(store, "load_catalogue", lambda: known)
    for name, content in contents.items():
        (tmp_path / MODEL / name).parent.mkdir(exist_ok=True)
        (tmp_path / MODEL / name).write_bytes(content)

    with pytest.raises(NoVoice):
        load_engine(load_settings(tts="chatterbox", tts_device="cpu", tts_voices="", model_dir=tmp_path))
