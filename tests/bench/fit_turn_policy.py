"""The weights of the turn policy, fitted on real speech: `python -m tests.bench.fit_turn_policy --recordings DIR`.

DIR holds WAV files of one utterance each, with what is said in them (see `voicefleet bench turns --help`); the name of
a file's folder is taken for its speaker. An utterance gives its true end, and each gap between its words a place at
which the caller might have stopped to think. At each, 64 ms after the voice falls silent, smart-turn and the recogniser
are asked as the server asks them, and it is measured how far the voice has fallen. Printed are the weights that explain
best which are ends (logistic regression, Newton's method with a little ridge), how well each evidence by itself tells
the ends, and how well weights fitted on all other speakers tell those of each one.
"""

import argparse
import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from scipy.signal import resample_poly

from server.audio.voice import frame_level
from server.bench.turns.recordings import Recording, read_recordings
from server.bench.turns.word_gaps import RATE, word_gaps
from server.client.playout import last_audible
from server.conversation.endpointing import PAUSE_TO_JUDGE_SECONDS
from server.conversation.intensity import Intensity
from server.conversation.turn_words import ending_of, words_missing
from server.models.store import ModelStore
from server.settings.loading import load_settings
from server.smart_turn_processor import SmartTurnProcessor
from server.vad_processor import FRAME_SAMPLES
from server.workers.engines.recognition import Window
from server.workers.engines.utterance import prepare, window_for
from server.workers.engines.whisper import WhisperEngine

_RIDGE = 0.1
_STEPS = 25
_MOST_GAPS = 4  # of one utterance, the longest: or long ones would count for more
_SURE = 1e-4
_EVIDENCE = ("sound's log odds", "fall, per dB", "open", "missing words", "constant")
_USUAL_FALL, _MOST_FALL = 3.0, 10.0  # dB
_FRAME_BYTES = 2 * FRAME_SAMPLES

_Floats = NDArray[np.float64]


class Place(NamedTuple):
    """Where the caller fell silent: `sound` is smart-turn's probability of the end, `is_end` the truth."""

    speaker: str
    sound: float
    fall: float | None
    words: str
    is_end: bool


def silences(recording: Recording) -> Iterator[tuple[bytes, bool]]:
    """The utterance up to each place, 16-bit PCM at 16 kHz with the first quiet after it; and whether it ends there."""
    ends = [(gap.start, False) for gap in word_gaps(recording.samples)[:_MOST_GAPS]]
    quiet = np.zeros(round(PAUSE_TO_JUDGE_SECONDS * RATE))
    for end, is_end in [*ends, (last_audible(recording.samples) / RATE, True)]:
        heard = resample_poly(np.concatenate((recording.samples[: round(end * RATE)], quiet)), 16_000, RATE)
        yield np.clip(np.round(heard), -32768, 32767).astype("<i2").tobytes(), is_end


def places(recordings: Sequence[Recording], smart_turn: SmartTurnProcessor, whisper: WhisperEngine) -> list[Place]:
    """What is known at every place."""
    found = []
    for recording in track(recordings, "asking"):
        for pcm, is_end in silences(recording):
            words = " ".join(whisper.recognize([Window(piece, window_for(piece))])[0].text for piece in prepare(pcm))
            sound = asyncio.run(smart_turn.probability(pcm))
            assert sound is not None, "nobody else asks"
            found.append(Place(Path(recording.name).parent.name, sound, _fall(pcm), words, is_end))
    return found


def _fall(pcm: bytes) -> float | None:
    intensity = Intensity()
    for start in range(0, len(pcm) - _FRAME_BYTES + 1, _FRAME_BYTES):
        intensity.frame(frame_level(pcm[start : start + _FRAME_BYTES]), voiced=True)
    return intensity.fall


def evidence(found: Sequence[Place]) -> _Floats:
    """Rows of what is weighed: smart-turn's log odds, the fall in dB, an open sentence, missing words, a constant."""
    sound = np.clip([place.sound for place in found], _SURE, 1 - _SURE)
    is_open = [float(ending_of(place.words) == "open") for place in found]
    missing = [float(words_missing(place.words)) for place in found]
    falls = [_USUAL_FALL if place.fall is None else min(place.fall, _MOST_FALL) for place in found]
    return np.column_stack((np.log(sound / (1 - sound)), falls, is_open, missing, np.ones(len(found))))


def fit(found: Sequence[Place]) -> _Floats:
    """The weights of `evidence`, for log odds of an end; ends and other places count for the same in all."""
    rows = evidence(found)
    ends = np.array([place.is_end for place in found], float)
    counts = np.where(ends, 0.5 / ends.mean(), 0.5 / (1 - ends.mean()))
    weights = np.zeros(rows.shape[1])
    for _ in range(_STEPS):
        likely = 1 / (1 + np.exp(-rows @ weights))
        slope = rows.T @ (counts * (ends - likely)) - _RIDGE * weights
        curvature = (rows.T * (counts * likely * (1 - likely))) @ rows + _RIDGE * np.eye(len(weights))
        weights += np.linalg.solve(curvature, slope)
    return weights


def told_apart(found: Sequence[Place], weights: _Floats) -> float:
    """How often an end is thought more likely one than another place is (area under the curve)."""
    odds = evidence(found) @ weights
    ends = np.array([place.is_end for place in found])
    wins = np.sign(odds[ends][:, None] - odds[~ends][None, :])
    return float((wins.mean() + 1) / 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=Path, required=True)
    options = parser.parse_args()
    store = ModelStore.from_settings(load_settings())
    smart_turn = SmartTurnProcessor(next(store.verified("smart-turn-v3.2").glob("*.onnx")))
    whisper = WhisperEngine(store.verified("tiny.en"), "cpu")
    found = places(read_recordings(options.recordings).utterances, smart_turn, whisper)
    smart_turn.close()
    speakers = sorted({place.speaker for place in found})
    print(f"{sum(place.is_end for place in found)} ends and {sum(not place.is_end for place in found)} other places")
    weights = fit(found)
    for name, weight, alone in zip(_EVIDENCE, weights, np.diag(weights), strict=True):
        print(f"  {name:17} {weight:+.2f}; by itself it tells ends apart in {told_apart(found, alone):.1%}")
    print(f"  together: {told_apart(found, weights):.1%}")
    for speaker in speakers:
        others = [place for place in found if place.speaker != speaker]
        own = [place for place in found if place.speaker == speaker]
        if {place.is_end for place in own} == {place.is_end for place in others} == {True, False}:
            print(f"  {speaker}: ends told apart in {told_apart(own, fit(others)):.1%} with the others' weights")


if __name__ == "__main__":
    main()
