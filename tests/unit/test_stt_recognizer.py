"""The path of an utterance through the recogniser, with an engine that says what the test wants it to."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import numpy as np
import pytest

from server.workers.engines.utterance import InvalidAudio
from server.workers.engines.whisper import Recognition, UnknownLanguage, Window
from server.workers.recognizer import Recognizer

_SPEECH = np.random.default_rng(0).normal(0, 3000, 2 * 16_000).astype("<i2").tobytes()


class _Engine:
    """Recognises as `hear` says and keeps what it was given."""

    device = "cpu"

    def __init__(self, hear: Callable[[Window], Recognition]) -> None:
        self._hear = hear
        self.windows: list[Window] = []

    def check_language(self, language: str) -> None:
        if language not in ("", "en"):
            raise UnknownLanguage(language, "only 'en'")

    def recognize(self, windows: Sequence[Window]) -> list[Recognition]:
        self.windows += windows
        return [self._hear(window) for window in windows]


@asynccontextmanager
async def _running(engine: _Engine, language: str = "", prompt: str = "") -> AsyncIterator[Recognizer]:
    recognizer = Recognizer(engine, language, prompt)
    async with asyncio.TaskGroup() as tasks:
        run = tasks.create_task(recognizer.run())
        yield recognizer
        run.cancel()


def _echo(window: Window) -> Recognition:
    return Recognition(f"{len(window.samples) / 16_000:.0f}s")


async def test_silence_never_reaches_the_engine() -> None:
    engine = _Engine(_echo)
    async with _running(engine) as recognizer:
        transcript = await recognizer.transcribe(bytes(32_000))
    assert (transcript.text, transcript.refused_by, engine.windows) == ("", "silence", [])


@pytest.mark.parametrize("gate", ["log_prob", "repetition"])
async def test_what_is_doubtful_in_a_short_window_is_tried_in_a_long_one(gate: str) -> None:
    def hear(window: Window) -> Recognition:
        return Recognition("hello") if window.seconds == 30 else Recognition("", gate)  # type: ignore[arg-type]

    engine = _Engine(hear)
    async with _running(engine) as recognizer:
        transcript = await recognizer.transcribe(_SPEECH)
    assert (transcript.text, transcript.refused_by) == ("hello", "")
    assert [window.seconds for window in engine.windows] == [15, 30]


async def test_what_stays_doubtful_is_refused() -> None:
    engine = _Engine(lambda window: Recognition("", "log_prob"))
    async with _running(engine) as recognizer:
        transcript = await recognizer.transcribe(_SPEECH)
    assert (transcript.text, transcript.refused_by, len(engine.windows)) == ("", "log_prob", 2)


async def test_what_is_no_speech_is_not_tried_again() -> None:
    engine = _Engine(lambda window: Recognition("", "no_speech"))
    async with _running(engine) as recognizer:
        assert (await recognizer.transcribe(_SPEECH)).refused_by == "no_speech"
    assert len(engine.windows) == 1


async def test_a_long_utterance_is_heard_in_pieces_and_told_as_one() -> None:
    engine = _Engine(lambda window: Recognition("long" if window.seconds == 30 else "short"))
    async with _running(engine) as recognizer:
        transcript = await recognizer.transcribe(_SPEECH * 20)
    assert transcript.text == "long short"


async def test_a_piece_that_is_refused_leaves_the_rest() -> None:
    engine = _Engine(lambda window: Recognition("", "no_speech") if window.seconds == 30 else Recognition("bye"))
    async with _running(engine) as recognizer:
        transcript = await recognizer.transcribe(_SPEECH * 20)
    assert (transcript.text, transcript.refused_by) == ("bye", "")


async def test_the_request_s_language_and_prompt_come_before_the_worker_s() -> None:
    engine = _Engine(_echo)
    async with _running(engine, "", "Voicefleet") as recognizer:
        await recognizer.transcribe(_SPEECH)
        await recognizer.transcribe(_SPEECH, "en", "Asterisk")
    assert [(window.language, window.prompt) for window in engine.windows] == [("", "Voicefleet"), ("en", "Asterisk")]


async def test_bad_audio_and_unknown_languages_are_named() -> None:
    async with _running(_Engine(_echo)) as recognizer:
        with pytest.raises(InvalidAudio):
            await recognizer.transcribe(b"\0")
        with pytest.raises(UnknownLanguage, match="unknown language 'tlh'; this model takes only 'en'"):
            await recognizer.transcribe(_SPEECH, "tlh")


def test_a_language_setting_that_the_model_lacks_fails_at_the_start() -> None:
    with pytest.raises(UnknownLanguage):
        Recognizer(_Engine(_echo), "tlh")
