"""What noise does to words and to voice activity, and what noise reductions make of it.

    python -m tests.bench.noise_reduction --audio DIR

DIR holds a `manifest.json`: a list of {"path": a WAV file relative to DIR, "text": what is said in it}. Each clip is
heard whole, through mu-law at 8 kHz, and in each noise, with a second of the noise before and after it; tiny.en
recognises it and Silero listens, to the audio as it is and as each reduction gives it. Then what Silero makes of the
sounds that `voicefleet bench turns` plays while the assistant speaks, and what each reduction costs.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from server.audio import g711
from server.audio.log_mel import SAMPLE_RATE
from server.audio.resampling import Resampler
from server.bench.turns.cases import noises
from server.bench.turns.recordings import read_recordings
from server.bench.turns.word_gaps import RATE as CASE_RATE
from server.client.transcripts import word_errors, words
from server.vad_processor import FRAME_SAMPLES, VadProcessor, VadStream
from server.workers.engines.utterance import LONGEST_WINDOW, decode, window_for
from server.workers.engines.whisper import WhisperEngine
from server.workers.recognizer import Recognizer
from tests.bench.denoisers import DeepFilterNet3, Denoiser, Dtln, Gtcrn
from tests.bench.markdown import table
from tests.bench.noises import NOISES, Sound, with_noise
from tests.support.clips import BUNDLED, Clip, read_clips
from tests.support.recognizing import heard_in_a_window, recognizing
from tests.support.speech import model_folder

_ROOM = SAMPLE_RATE  # of noise alone before and after a clip
_PADDING = round(0.3 * SAMPLE_RATE)  # of it that a node sends to the recogniser
_VOICE = 0.5
_SURE_VOICE = 0.7  # what counts while the assistant speaks
_SHORTEST = 1.0  # seconds of a clip: shorter ones are single digits, which are hard enough without noise
_FRAME_SECONDS = FRAME_SAMPLES / SAMPLE_RATE
_FAR_FRAMES = 6  # from the next frame of speech: 0.2 s

_COLUMNS = ("", "reduction", "words wrong", "in long windows", "speech missed", "noise taken for voice")

_Flags = NDArray[np.bool_]
_Probabilities = NDArray[np.float64]


class AsItIs:
    """No reduction."""

    lag = 0.0

    def __call__(self, sound: Sound) -> Sound:
        """See `Denoiser`."""
        return sound


REDUCTIONS: Mapping[str, Callable[[], Denoiser]] = {
    "none": AsItIs,
    "dtln": Dtln,
    "gtcrn": Gtcrn,
    "deepfilternet3": DeepFilterNet3,
}


@dataclass(slots=True)
class _Score:
    """What was made of the clips in one condition. Frames: of speech, missed; of none, taken for voice."""

    wrong: int = 0
    wrong_in_long_windows: int = 0
    words: int = 0
    speech: int = 0
    missed: int = 0
    quiet: int = 0
    false: int = 0

    def row(self) -> tuple[str, str, str, str]:
        """As `_COLUMNS` names it."""
        return (
            f"{self.wrong} of {self.words}, {self.wrong / self.words:.1%}",
            f"{self.wrong_in_long_windows}, {self.wrong_in_long_windows / self.words:.1%}",
            f"{self.missed / self.speech:.1%}",
            f"{self.false / self.quiet:.1%}",
        )


@dataclass(slots=True)
class _Cost:
    """What a reduction took of the processor for so much audio, in seconds."""

    cpu: float = 0.0
    audio: float = 0.0


@dataclass(slots=True)
class Ears:
    """The models that listen."""

    engine: WhisperEngine
    recognizer: Recognizer
    vad: VadProcessor
    costs: dict[str, _Cost] = field(default_factory=dict)

    async def words(self, sound: Sound) -> str:
        """What a node makes of it: in a short window first, in a long one where that is not sure."""
        return (await self.recognizer.transcribe(pcm(sound).tobytes())).text

    def words_in_long_windows(self, sound: Sound) -> str:
        """What tiny.en makes of it at its best."""
        return heard_in_a_window(self.engine, sound, window_for(sound))

    async def voice(self, sounds: Iterable[Sound]) -> list[_Probabilities]:
        """Silero's probabilities, frame by frame, of each sound."""
        return await asyncio.gather(*(_probabilities(self.vad.stream(), sound) for sound in sounds))

    def reduced(self, name: str, reduction: Denoiser, sound: Sound) -> Sound:
        """The sound after a reduction, whose cost is noted."""
        cost = self.costs.setdefault(name, _Cost())
        began = time.process_time()
        better = reduction(sound)
        cost.cpu += time.process_time() - began
        cost.audio += len(sound) / SAMPLE_RATE
        return np.clip(better, -1.0, 1.0)


async def _probabilities(stream: VadStream, sound: Sound) -> _Probabilities:
    fed = asyncio.create_task(stream.feed(pcm(sound).tobytes()))
    found: list[float] = []
    async for activity in stream:
        found.append(activity.probability)
        if len(found) == len(sound) // FRAME_SAMPLES:
            break
    await fed
    return np.array(found)


def pcm(sound: Sound) -> NDArray[np.int16]:
    """As 16-bit samples."""
    return np.rint(sound * 32767).astype(np.int16)


def _through_mu_law(sound: Sound) -> Sound:
    down, up = Resampler(SAMPLE_RATE, g711.RATE), Resampler(g711.RATE, SAMPLE_RATE)
    narrow = np.concatenate((down.push(pcm(sound)), down.flush()))
    heard = g711.decode_ulaw(g711.encode_ulaw(narrow))
    return decode(np.concatenate((up.push(heard), up.flush())).tobytes())


def conditions(clips: Sequence[Clip], everyone: Sequence[Clip], snr_db: float) -> Iterator[tuple[str, list[Sound]]]:
    """Each condition's name, and every clip in it; `everyone` else may be heard in the noise.

    A second is left before and after the clip; `utterance` gives what a node would send to the recogniser.
    """
    said = [decode(clip.pcm) for clip in clips]
    whole = [np.pad(speech, _ROOM) for speech in said]
    yield "whole", whole
    yield "mu-law", [_through_mu_law(sound) for sound in whole]
    for name, noise in NOISES.items():
        noisy = []
        for number, (clip, sound, speech) in enumerate(zip(clips, whole, said, strict=True)):
            others = [decode(other.pcm) for other in everyone if other is not clip]
            made = noise(np.random.default_rng(number), others, len(sound))
            noisy.append(with_noise(sound, made, snr_db, speech))
        yield f"{name}, {snr_db:g} dB", noisy


def utterance(sound: Sound) -> Sound:
    """Of what `conditions` gives, the speech and 0.3 s around it."""
    return sound[_ROOM - _PADDING : len(sound) - _ROOM + _PADDING]


async def _judged(ears: Ears, clips: Sequence[Clip], sounds: Sequence[Sound], speech: Sequence[_Flags]) -> _Score:
    score = _Score()
    voice = await ears.voice(sounds)
    for clip, sound, spoken, probabilities in zip(clips, sounds, speech, voice, strict=True):
        said = utterance(sound)
        score.wrong += word_errors(clip.text, await ears.words(said))
        score.wrong_in_long_windows += word_errors(clip.text, ears.words_in_long_windows(said))
        score.words += len(words(clip.text))
        quiet = ~np.convolve(spoken, np.ones(2 * _FAR_FRAMES + 1, bool), "same")
        score.speech += int(spoken.sum())
        score.missed += int((spoken & (probabilities < _VOICE)).sum())
        score.quiet += int(quiet.sum())
        score.false += int((quiet & (probabilities >= _VOICE)).sum())
    return score


def long_enough(clips: Sequence[Clip], most: int) -> Sequence[Clip]:
    """So many of those that are heard in one piece, and are no single digits."""
    fitting = [clip for clip in clips if _SHORTEST <= clip.seconds <= LONGEST_WINDOW - 1]
    return fitting[:: -(-len(fitting) // most)]


async def _clip_rows(
    ears: Ears, reductions: Mapping[str, Denoiser], everyone: Sequence[Clip], most: int, snr_db: float
) -> AsyncIterator[tuple[str, ...]]:
    clips = long_enough(everyone, most)
    print(f"{len(clips)} clips, {sum(clip.seconds for clip in clips):.0f} s")
    speech: list[_Flags] = []
    for condition, sounds in conditions(clips, everyone, snr_db):
        speech = speech or [probabilities >= _VOICE for probabilities in await ears.voice(sounds)]
        for name, reduction in reductions.items():
            heard = [ears.reduced(name, reduction, sound) for sound in sounds]
            row = (condition, name, *(await _judged(ears, clips, heard, speech)).row())
            print(*row, sep=" | ", file=sys.stderr, flush=True)
            yield row


async def _noise_rows(ears: Ears, reductions: Mapping[str, Denoiser]) -> list[tuple[str, ...]]:
    """Of each sound that `bench turns` plays while the assistant speaks: seconds that are surely voice to Silero.

    The caller has said something before, two seconds earlier, so that a reduction knows them.
    """
    before = np.concatenate((decode(read_clips(BUNDLED)[0].pcm), np.zeros(2 * SAMPLE_RATE, np.float32)))
    rows = []
    for case in noises(read_recordings(BUNDLED)):
        resampler = Resampler(CASE_RATE, SAMPLE_RATE)
        noise = decode(np.concatenate((resampler.push(case.samples), resampler.flush())).tobytes())
        sound = np.concatenate((before, noise, np.zeros(SAMPLE_RATE, np.float32)))
        heard = await ears.voice(reduction(sound) for reduction in reductions.values())
        seconds = [np.sum(found[len(before) // FRAME_SAMPLES :] >= _SURE_VOICE) * _FRAME_SECONDS for found in heard]
        rows.append((case.name, *(f"{value:.1f}" for value in seconds)))
    return rows


async def run(options: argparse.Namespace) -> None:
    """Measure, and print what was measured."""
    engine = WhisperEngine(model_folder("tiny.en"), "cpu")
    vad = VadProcessor(model_folder("silero-vad") / "silero_vad.onnx")
    reductions = {name: REDUCTIONS[name]() for name in options.reductions}
    listening = asyncio.create_task(vad.run())
    async with recognizing(engine, "en") as recognizer:
        ears = Ears(engine, recognizer, vad)
        clips = read_clips(options.audio)
        rows = [row async for row in _clip_rows(ears, reductions, clips, options.clips, options.snr)]
        print(table(_COLUMNS, rows))
        print(table(("seconds of voice", *reductions), await _noise_rows(ears, reductions)))
    listening.cancel()
    costs = (
        (name, f"{1000 * reductions[name].lag:.0f} ms", f"{cost.cpu / cost.audio:.3f} s")
        for name, cost in ears.costs.items()
    )
    print(table(("reduction", "lag", "CPU per second of call"), costs))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, default=BUNDLED, help="folder of clips with its manifest.json")
    parser.add_argument("--clips", type=int, default=1000, help="at most so many of them")
    parser.add_argument("--snr", type=float, default=10.0, help="how far the noise is below the speech, in dB")
    parser.add_argument("--reductions", nargs="+", choices=REDUCTIONS, default=tuple(REDUCTIONS))
    asyncio.run(run(parser.parse_args()))
