"""The path of an utterance through the recogniser, with an engine that says what the test wants it to."""

import asyncio
import threading
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from server.workers.engines.recognition import Recognition, UnknownLanguage, Window
from server.workers.engines.utterance import InvalidAudio, window_for
from server.workers.fair_queue import QueueFull
from server.workers.recognizer import Recognizer
from tests.support.recognizing import recognizing


def _speech(seconds: int) -> bytes:
    return np.random.default_rng(0).normal(0, 3000, seconds * 16_000).astype("<i2").tobytes()


_SPEECH = _speech(2)


class _Engine:
    """Recognises as `hear` says and keeps what it was given."""

    languages: Sequence[str] = ("en",)
    max_batch = 1
    parallel = 1

    def __init__(self, hear: Callable[[Window], Recognition]) -> None:
        self._hear = hear
        self.windows: list[Window] = []

    def check_language(self, language: str) -> None:
        if language not in ("", "en"):
            raise UnknownLanguage(language, "only 'en'")

    def recognize(self, windows: Sequence[Window]) -> list[Recognition]:
        self.windows += windows
        return [self._hear(window) for window in windows]


def _echo(window: Window) -> Recognition:
    return Recognition(f"{len(window.samples) / 16_000:.0f}s", sure=True)


async def test_silence_never_reaches_the_engine() -> None:
    engine = _Engine(_echo)
    async with recognizing(engine) as recognizer:
        transcript = await recognizer.transcribe(bytes(32_000))
    assert (transcript.text, transcript.refused_by, engine.windows) == ("", "silence", [])


@pytest.mark.parametrize("gate", ["log_prob", "repetition"])
async def test_what_is_doubtful_in_a_short_window_is_tried_in_a_long_one(gate: str) -> None:
    def hear(window: Window) -> Recognition:
        return Recognition("hello") if window.seconds == 30 else Recognition("", gate)  # type: ignore[arg-type]

    engine = _Engine(hear)
    async with recognizing(engine) as recognizer:
        transcript = await recognizer.transcribe(_SPEECH)
    assert (transcript.text, transcript.refused_by) == ("hello", "")
    assert [window.seconds for window in engine.windows] == [3, 15, 30]


async def test_what_stays_doubtful_is_refused() -> None:
    engine = _Engine(lambda window: Recognition("", "log_prob"))
    async with recognizing(engine) as recognizer:
        transcript = await recognizer.transcribe(_SPEECH)
    assert (transcript.text, transcript.refused_by, len(engine.windows)) == ("", "log_prob", 3)


@pytest.mark.parametrize(
    ("heard", "words"),
    [
        (Recognition("", "no_speech"), ""),
        (Recognition("Right. Right."), "Right. Right."),
        (Recognition("", "log_prob", guess="Press"), "Press"),
    ],
    ids=["none", "unsure", "a guess"],
)
async def test_of_a_fragment_one_window_is_enough_and_a_guess_is_welcome(heard: Recognition, words: str) -> None:
    engine = _Engine(lambda window: heard)
    async with recognizing(engine) as recognizer:
        transcript = await recognizer.transcribe(_SPEECH, fragment=True)
    assert transcript.text == words
    assert [window.seconds for window in engine.windows] == [3]


async def test_what_a_glimpse_was_not_sure_of_is_not_tried_in_a_short_window_again() -> None:
    engine = _Engine(lambda window: Recognition("hello"))
    async with recognizing(engine) as recognizer:
        await recognizer.transcribe(_SPEECH, thorough=True)
    assert [(window.seconds, window.short) for window in engine.windows] == [(15, False)]


async def test_what_an_engine_surely_refuses_is_not_tried_again() -> None:
    engine = _Engine(lambda window: Recognition("", "log_prob", sure=True))
    async with recognizing(engine) as recognizer:
        transcript = await recognizer.transcribe(_SPEECH)
    assert (transcript.text, transcript.refused_by, len(engine.windows)) == ("", "log_prob", 1)


async def test_a_glimpse_is_one_try_in_a_short_window() -> None:
    engine = _Engine(lambda window: Recognition("", "log_prob"))
    async with recognizing(engine) as recognizer:
        transcript = await recognizer.glimpse(_SPEECH)
    assert transcript.text == ""
    assert [(window.seconds, window.short) for window in engine.windows] == [(3, True)]


@pytest.mark.parametrize(
    ("heard", "seconds", "sure"),
    [
        (Recognition("hello", sure=True), 3, True),
        (Recognition("hello"), 3, False),  # `transcribe` would take a longer window
        (Recognition("hello"), 12, True),  # which this one is
        (Recognition("", "log_prob"), 12, False),
    ],
)
async def test_a_glimpse_is_sure_where_nothing_more_would_be_tried(
    heard: Recognition, seconds: int, sure: bool
) -> None:
    engine = _Engine(lambda window: heard)
    async with recognizing(engine) as recognizer:
        assert (await recognizer.glimpse(_speech(seconds))).sure is sure


async def test_a_glimpse_of_silence_never_reaches_the_engine() -> None:
    engine = _Engine(_echo)
    async with recognizing(engine) as recognizer:
        assert (await recognizer.glimpse(bytes(32_000))).refused_by == "silence"
    assert engine.windows == []


async def test_glimpses_are_the_first_to_go_under_load() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hear(window: Window) -> Recognition:
        begun.set()
        go_on.wait()
        return _echo(window)

    async with recognizing(_Engine(hear)) as recognizer, asyncio.TaskGroup() as tasks:
        tasks.create_task(recognizer.transcribe(_SPEECH))
        await asyncio.to_thread(begun.wait)
        glimpses = [asyncio.ensure_future(recognizer.glimpse(_SPEECH)) for _ in range(3)]
        [refused], wait = await asyncio.wait(glimpses, return_when=asyncio.FIRST_COMPLETED)
        assert isinstance(refused.exception(), QueueFull)
        go_on.set()
        assert [(await glimpse).text for glimpse in wait] == ["2s", "2s"]


@pytest.mark.parametrize(("sure", "windows"), [(True, [3]), (False, [3, 15])])
async def test_what_a_short_window_is_sure_of_is_believed(sure: bool, windows: list[int]) -> None:
    engine = _Engine(lambda window: Recognition(f"{window.seconds}", sure=sure))
    async with recognizing(engine) as recognizer:
        transcript = await recognizer.transcribe(_SPEECH)
    assert [window.seconds for window in engine.windows] == windows
    assert transcript.text == f"{windows[-1]}"


async def test_what_is_no_speech_in_a_long_window_is_not_tried_again() -> None:
    engine = _Engine(lambda window: Recognition("", "no_speech"))
    async with recognizing(engine) as recognizer:
        assert (await recognizer.transcribe(_SPEECH)).refused_by == "no_speech"
    assert [window.short for window in engine.windows] == [True, False]


async def test_a_long_utterance_is_heard_in_pieces_and_told_as_one() -> None:
    engine = _Engine(lambda window: Recognition("long" if window.seconds == 30 else "short"))
    async with recognizing(engine) as recognizer:
        transcript = await recognizer.transcribe(_SPEECH * 20)
    assert transcript.text == "long short"


async def test_a_piece_that_is_refused_leaves_the_rest() -> None:
    engine = _Engine(lambda window: Recognition("", "no_speech") if window.seconds == 30 else Recognition("bye"))
    async with recognizing(engine) as recognizer:
        transcript = await recognizer.transcribe(_SPEECH * 20)
    assert (transcript.text, transcript.refused_by) == ("bye", "")


async def test_the_request_s_language_and_prompt_come_before_the_worker_s() -> None:
    engine = _Engine(_echo)
    async with recognizing(engine, "", "Voicefleet") as recognizer:
        await recognizer.transcribe(_SPEECH)
        await recognizer.transcribe(_SPEECH, "en", "Asterisk")
    assert [(window.language, window.prompt) for window in engine.windows] == [("", "Voicefleet"), ("en", "Asterisk")]


async def test_of_a_long_prompt_the_end_is_read() -> None:
    engine = _Engine(_echo)
    async with recognizing(engine) as recognizer:
        await recognizer.transcribe(_SPEECH, "en", "x" * 900_000 + "Asterisk")
    assert engine.windows[0].prompt.endswith("xAsterisk")
    assert len(engine.windows[0].prompt) == 2000


async def test_between_the_pieces_of_a_long_utterance_others_have_their_turn() -> None:
    all_wait = threading.Event()

    def hear(window: Window) -> Recognition:
        all_wait.wait(10.0)
        return _echo(window)

    engine = _Engine(hear)

    async def until_so_many_wait(number: int) -> None:
        async with asyncio.timeout(10.0):
            while len(recognizer._batcher._queue) < number:  # noqa: ASYNC110  # there is no event for it
                await asyncio.sleep(0.001)

    async with recognizing(engine) as recognizer, asyncio.TaskGroup() as tasks:
        greedy = [tasks.create_task(recognizer.transcribe(_SPEECH * 100, call="greedy")) for _ in range(4)]
        await until_so_many_wait(3)  # behind the one that is being heard
        modest = tasks.create_task(recognizer.transcribe(_SPEECH, call="modest"))
        await until_so_many_wait(4)
        all_wait.set()
        await modest
        assert not any(task.done() for task in greedy)
    assert len(engine.windows) > 20


@pytest.mark.parametrize(
    ("seconds", "prompt", "cost"), [(0.1, "", 15.1), (12.0, "", 27.0), (30.0, "", 60.0), (0.0, "x" * 2000, 19.0)]
)
def test_a_window_costs_its_length_what_is_said_in_it_and_its_prompt(seconds: float, prompt: str, cost: float) -> None:
    samples = np.zeros(round(seconds * 16_000), np.float32)
    assert Window(samples, window_for(samples), "", prompt).cost == pytest.approx(cost)


async def test_bad_audio_and_unknown_languages_are_named() -> None:
    async with recognizing(_Engine(_echo)) as recognizer:
        with pytest.raises(InvalidAudio):
            await recognizer.transcribe(b"\0")
        with pytest.raises(UnknownLanguage, match="unknown language 'tlh'; this model takes only 'en'"):
            await recognizer.transcribe(_SPEECH, "tlh")


def test_a_language_setting_that_the_model_lacks_fails_at_the_start() -> None:
    with pytest.raises(UnknownLanguage):
        Recognizer(_Engine(_echo), "tlh")
