"""faster-whisper in place of our own engine: the same model, the same clips, the same words."""

import socket
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from server.client.transcripts import word_errors
from server.stt_processor import SttProcessor
from server.workers.engines.faster_whisper import FasterWhisperEngine
from server.workers.engines.whisper import WhisperEngine
from server.workers.recognizer import SpeechEngine
from tests.support.clips import BUNDLED, read_clips
from tests.support.recognizing import recognizing
from tests.support.speech import model_folder, running, worker_commands

_CLIPS = read_clips(BUNDLED)


@pytest.fixture(scope="module")
def other() -> FasterWhisperEngine:
    return FasterWhisperEngine(model_folder("tiny.en"), "cpu")


async def _texts(engine: SpeechEngine) -> list[str]:
    async with recognizing(engine) as recognizer:
        return [(await recognizer.transcribe(clip.pcm)).text for clip in _CLIPS]


async def test_both_engines_hear_the_same_words_and_ours_no_more_wrong_ones(other: FasterWhisperEngine) -> None:
    ours, theirs = await _texts(WhisperEngine(model_folder("tiny.en"), "cpu")), await _texts(other)
    assert [word_errors(one, another) for one, another in zip(theirs, ours, strict=True)] == [0] * len(_CLIPS)
    wrong, at_most = (
        sum(word_errors(clip.text, text) for clip, text in zip(_CLIPS, texts, strict=True)) for texts in (ours, theirs)
    )
    assert wrong <= at_most


async def test_what_is_no_speech_has_no_text(other: FasterWhisperEngine) -> None:
    hiss = [np.random.default_rng(0).normal(0, 32768 * level, 48_000).astype("<i2") for level in (0.01, 0.05, 0.2)]
    async with recognizing(other) as recognizer:
        heard = [await recognizer.transcribe(sound.tobytes()) for sound in hiss]
    assert [transcript.text for transcript in heard] == [""] * len(hiss)


async def test_a_prompt_may_be_longer_than_the_model_remembers(other: FasterWhisperEngine) -> None:
    async with recognizing(other) as recognizer:
        heard = await recognizer.transcribe(_CLIPS[0].pcm, prompt="Voicefleet, Asterisk, Kowalczyk. " * 60)
    assert word_errors(_CLIPS[0].text, heard.text) == 0


async def test_nothing_is_fetched_and_nothing_stands_in_for_pyav_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("it connects")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    FasterWhisperEngine(model_folder("tiny.en"), "cpu")
    assert find_spec("av") is None, "its wheels carry GPL code"
    assert "av" not in sys.modules


async def test_a_worker_runs_it_where_the_settings_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICE_STT_ENGINE", "faster-whisper")
    commands = worker_commands("stt")
    async with running(commands), SttProcessor(commands[0].address) as stt:
        assert word_errors(_CLIPS[0].text, (await stt.transcribe(_CLIPS[0].pcm)).text) == 0
