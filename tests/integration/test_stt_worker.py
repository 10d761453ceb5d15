"""The STT worker: a real process with a real model, reached as the gateway reaches it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress

import numpy as np
import pytest
import pytest_asyncio
from tokenizers import Tokenizer

from server.client.transcripts import word_errors, words
from server.stt_processor import SttError, SttProcessor
from server.workers.engines.recognition import Window
from server.workers.engines.utterance import decode
from server.workers.engines.whisper import WhisperEngine, token_bytes
from tests.support.clips import BUNDLED, read_clips
from tests.support.speech import model_folder, running, speak, worker_commands

pytestmark = pytest.mark.asyncio(loop_scope="module")

_RATE = 16_000
_CLIPS = {clip.name.removesuffix(".wav"): clip for clip in read_clips(BUNDLED)}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stt() -> AsyncIterator[SttProcessor]:
    commands = worker_commands("stt")
    async with running(commands), SttProcessor(commands[0].address) as processor:
        yield processor


def _pcm(samples: np.ndarray) -> bytes:
    return bytes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


def _white(seconds: float, level: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, level, round(seconds * _RATE))


def _breath() -> np.ndarray:
    spectrum = np.fft.rfft(_white(1.5, 1.0))
    pink = np.fft.irfft(spectrum / np.maximum(1, np.arange(len(spectrum))) ** 0.5)
    return np.asarray(0.05 * pink / np.abs(pink).max() * np.hanning(len(pink)))


def _ringing() -> np.ndarray:
    time = np.arange(3 * _RATE) / _RATE
    return np.asarray(0.2 * (np.sin(2 * np.pi * 440 * time) + np.sin(2 * np.pi * 480 * time)))


def _clap() -> np.ndarray:
    return 5 * _white(1.0, 0.1) * np.exp(-np.arange(_RATE) / 800)


async def test_recorded_telephone_speech_is_understood(stt: SttProcessor) -> None:
    wrong = [word_errors(clip.text, (await stt.transcribe(clip.pcm)).text) for clip in _CLIPS.values()]
    assert sum(wrong) <= 0.05 * sum(len(words(clip.text)) for clip in _CLIPS.values())


async def test_calls_that_speak_at_once_get_their_own_texts(stt: SttProcessor) -> None:
    clips = list(_CLIPS.values()) * 2
    transcripts = await asyncio.gather(*(stt.transcribe(clip.pcm) for clip in clips))
    for clip, transcript in zip(clips, transcripts, strict=True):
        assert word_errors(clip.text, transcript.text) <= 1


@pytest.mark.parametrize(
    ("sound", "gates"),
    [
        (np.zeros(3 * _RATE), {"silence"}),
        (_white(3.0, 0.0003), {"silence"}),
        (_white(0.4, 0.05), {"no_speech"}),
        (_white(3.0, 0.01), {"no_speech"}),
        (_white(8.0, 0.2), {"no_speech", "log_prob"}),
        (_breath(), {"no_speech"}),
        (_clap(), {"no_speech"}),
        (_ringing(), {"no_speech", "repetition"}),
    ],
    ids=["digital silence", "line noise", "a burst", "hiss", "loud hiss", "a breath", "a clap", "ringing"],
)
async def test_what_is_no_speech_has_no_text(stt: SttProcessor, sound: np.ndarray, gates: set[str]) -> None:
    transcript = await stt.transcribe(_pcm(sound))
    assert transcript.text == ""
    assert transcript.refused_by in gates


async def test_speech_longer_than_a_window_is_heard_whole(stt: SttProcessor) -> None:
    told = (
        "I ordered a blue bicycle from your shop last Monday. The driver called me on Wednesday and asked for "
        "my address. On Thursday a large box was standing in front of my door. I opened it in the kitchen "
        "together with my daughter. There was no bicycle inside, only a garden chair and two cushions. I "
        "wrote a letter to your office the same day. Nobody has answered me so far, and the chair is still "
        "here. Please send me what I have paid for before Sunday. My neighbour would like to keep the "
        "cushions, because they match her sofa. I can pay for them if you tell me how. And please tell me "
        "what became of the bicycle that I ordered in the first place."
    )
    pcm = await speak(told)
    assert len(pcm) / 2 / _RATE > 31
    transcript = await stt.transcribe(pcm)
    assert word_errors(told, transcript.text) <= 0.1 * len(words(told))


async def test_the_tokens_of_a_text_are_its_bytes_and_more_or_less_probable(stt: SttProcessor) -> None:
    transcript = await stt.transcribe(_CLIPS["vm-helpexit"].pcm, probabilities=True)
    assert b"".join(token.text for token in transcript.tokens).decode().strip() == transcript.text
    probabilities = [token.log_probability for token in transcript.tokens]
    assert -3 < min(probabilities) < max(probabilities) <= 0


async def test_a_token_may_be_a_part_of_a_character() -> None:
    tokenizer = Tokenizer.from_file(str(model_folder("tiny.en") / "tokenizer.json"))
    text = " naïve café 你好 🙂"
    pieces = tokenizer.encode(text, add_special_tokens=False).tokens
    assert b"".join(map(token_bytes, pieces)).decode() == text


async def test_a_prompt_teaches_it_names(stt: SttProcessor) -> None:
    pcm = await speak("I would like to speak with Siobhan Kowalczyk.")
    assert "Kowalczyk" not in (await stt.transcribe(pcm)).text
    assert "Kowalczyk" in (await stt.transcribe(pcm, prompt="Siobhan Kowalczyk")).text


async def test_a_prompt_may_be_longer_than_the_model_remembers(stt: SttProcessor) -> None:
    clip = _CLIPS["vm-helpexit"]
    assert (await stt.transcribe(clip.pcm, prompt="Voicefleet, Asterisk, Kowalczyk. " * 40)).text == clip.text


async def test_a_prompt_is_not_heard_in_noise(stt: SttProcessor) -> None:
    noises = [_white(3.0, level, seed) for level in (0.02, 0.05, 0.1) for seed in range(3)]
    heard = [await stt.transcribe(_pcm(noise), prompt="Siobhan Kowalczyk") for noise in noises]
    assert [transcript.text for transcript in heard] == [""] * len(noises)


@pytest.mark.parametrize(
    ("pcm", "language", "reason"),
    [(b"\0\0\0", "", "even number"), (bytes(2 * _RATE * 301), "", "300 s at most"), (bytes(_RATE), "tlh", "only 'en'")],
    ids=["half a sample", "too long", "unknown language"],
)
async def test_what_it_does_not_take_is_refused_with_what_it_takes(
    stt: SttProcessor, pcm: bytes, language: str, reason: str
) -> None:
    with pytest.raises(SttError, match=reason) as raised:
        await stt.transcribe(pcm, language)
    assert raised.value.failure == "invalid_audio"
    assert (await stt.transcribe(_CLIPS["vm-helpexit"].pcm)).text


async def test_a_full_queue_is_refused_and_what_is_given_up_makes_room(stt: SttProcessor) -> None:
    pcm = _CLIPS["vm-helpexit"].pcm
    asking = [asyncio.create_task(stt.transcribe(pcm)) for _ in range(100)]
    done, waiting = await asyncio.wait(asking, return_when=asyncio.FIRST_EXCEPTION)
    error = next(error for task in done if (error := task.exception()))
    assert isinstance(error, SttError)
    assert error.failure == "busy"
    for task in waiting:
        task.cancel()
    await asyncio.wait(asking)
    transcript = await stt.transcribe(pcm)
    assert transcript.text
    # That is what ran already. The whole queue, though in batches, would have taken far longer, on whatever machine.
    assert transcript.queue_seconds < len(waiting) / 4 * transcript.inference_seconds


@pytest.mark.parametrize(
    ("greedy", "every"), [(_pcm(_white(0.1, 0.1)), 1 / 35), (_pcm(_white(30.0, 0.1)), 1 / 2.4)], ids=["short", "long"]
)
async def test_a_caller_beside_one_who_sends_without_end_is_heard_in_time(
    stt: SttProcessor, greedy: bytes, every: float
) -> None:
    """Alone, the modest caller waits some 0.3 s; with one queue for all, each of their utterances failed."""
    attacker, caller = stt.session(), stt.session()
    stopping = asyncio.Event()

    async def flood() -> None:
        async with asyncio.TaskGroup() as tasks:
            asked = []
            while not stopping.is_set():
                asked.append(tasks.create_task(_swallowed(attacker.transcribe(greedy))))
                await asyncio.sleep(every)
            for task in asked:
                task.cancel()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(flood())
        try:
            for clip in list(_CLIPS.values())[:4]:
                await asyncio.sleep(0.5)
                async with asyncio.timeout(10):  # of a machine that does much else
                    transcript = await caller.transcribe(clip.pcm)
                assert word_errors(clip.text, transcript.text) <= 1
        finally:
            stopping.set()


async def _swallowed(asking: Awaitable[object]) -> None:
    with suppress(SttError):
        await asking


async def test_a_sentence_said_twice_for_want_of_a_longer_window_is_noticed() -> None:
    engine = WhisperEngine(model_folder("tiny.en"), "cpu")
    samples = decode(_CLIPS["vm-calldiffnum"].pcm)
    short, long = (engine.recognize([Window(samples, seconds)])[0] for seconds in (10, 30))
    assert short.refused_by == "repetition"
    assert long.text == "Press 2 to enter a different number."
