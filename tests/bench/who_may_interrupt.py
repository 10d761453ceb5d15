"""What stops an answer, of all that `voicefleet bench turns` says into one: without a node, at many more moments.

    python -m tests.bench.who_may_interrupt

Every interruption, backchannel and noise is played into an answer, begun at each of `--starts` places within a frame of
the voice detector, on a call whose caller has not spoken before and on one whose caller has. The detector and the
recogniser (tiny.en) are the real ones. Time is virtual: words come so long after they were asked for as recognition
took of a core here, times `--slower`, as if nobody else wanted the recogniser. Times are from a sound's first audible
sample until `speech_started`. Exits with 1 where an interruption was missed, or anything else stopped an answer.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Iterable, Sequence
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

import numpy as np

from server.audio import Samples
from server.audio.formats import MODEL_RATE
from server.audio.resampling import Resampler
from server.bench.percentiles import percentile_ms
from server.bench.turns.cases import LATER, Case, Kind, all_cases, introduction
from server.bench.turns.recordings import read_recordings
from server.bench.turns.spoken import spoken
from server.bench.turns.word_gaps import RATE
from server.conversation import commands as c
from server.conversation.config import SessionConfig
from server.conversation.conversation import Conversation
from server.conversation.endpointing import TurnDetection
from server.conversation.events import SpeechStarted, Transcribed
from server.conversation.outputs import Output
from server.models.store import ModelStore
from server.settings.loading import load_settings
from server.vad_processor import FRAME_SAMPLES, VadProcessor
from server.workers.engines.whisper import WhisperEngine
from server.workers.recognizer import Recognizer
from tests.bench.markdown import table
from tests.support.recognizing import recognizing

_FRAME = FRAME_SAMPLES / MODEL_RATE
_STORY = (
    "Once upon a time there was a farmer who had three sons and a mill, and the eldest of them went to sea, from where "
    "he never came back, but for one letter with a drawing in it."
)
_STORY_SECONDS = 12.0
_INTO_STORY, _AFTER_SOUND = 1.5, 2.0  # seconds
_FINISHED = 0.9  # what smart-turn says of a pause; of no importance here
_INTERRUPTIONS = (Kind.INTERRUPTION, Kind.LATER_INTERRUPTION)
_KINDS = (
    *_INTERRUPTIONS, Kind.BACKCHANNEL, Kind.LATER_BACKCHANNEL, Kind.NOISE, Kind.LATER_NOISE,
)  # fmt: skip
_ALL = 100  # for each kind: there are fewer


class Frame(NamedTuple):
    """32 ms of a caller's audio, 16-bit PCM at 16 kHz, and how likely there is a voice in it."""

    pcm: bytes
    probability: float


class Words(NamedTuple):
    """The answer to a request for words, and when it is there."""

    due: float
    request: c.Transcribe | c.Glimpse
    text: str
    sure: bool


class Ears:
    """The voice detector and the recogniser."""

    def __init__(self, vad: VadProcessor, recognizer: Recognizer, slower: float) -> None:
        self._vad = vad
        self._recognizer = recognizer
        self._slower = slower

    async def frames(self, samples: Samples) -> list[Frame]:
        """Of `samples` at 24 kHz."""
        pcm = Resampler(RATE, MODEL_RATE).push(samples).tobytes()
        pieces = [pcm[at : at + 2 * FRAME_SAMPLES] for at in range(0, len(pcm) - 2 * FRAME_SAMPLES, 2 * FRAME_SAMPLES)]
        stream = self._vad.stream()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(stream.feed(pcm))
            activity = aiter(stream)
            return [Frame(piece, (await anext(activity)).probability) for piece in pieces]

    async def words(self, request: c.Transcribe | c.Glimpse, now: float) -> Words:
        """The answer to what is asked `now`."""
        started = time.process_time()
        if isinstance(request, c.Transcribe):
            heard = await self._recognizer.transcribe(request.pcm, fragment=request.fragment, thorough=request.thorough)
        else:
            heard = await self._recognizer.glimpse(request.pcm)
        return Words(now + self._slower * (time.process_time() - started), request, heard.text, heard.sure)


class VirtualCall:
    """A conversation in virtual time: a caller's audio in, what stops the answer out. `now` is seconds."""

    def __init__(self, ears: Ears) -> None:
        ids = map(str, count())
        settings = SessionConfig(turn_detection=TurnDetection(eagerness="medium"))
        self._conversation = Conversation(settings, lambda prefix: prefix + next(ids), speculation="full")
        self._ears = ears
        self._frames = 0
        self._waiting: list[Words] = []
        self.now = 0.0
        self.speech_started_at: float | None = None
        """When the caller was last taken to speak."""

    async def answer(self) -> None:
        """The assistant begins to say something long."""
        await self._perform(self._conversation.respond(self._conversation.config.response, now=self.now))
        response = self._conversation.active_response
        assert response is not None, "it was asked for"
        self._conversation.begin_clause(response.id, _STORY)
        self._conversation.speak(response.id, b"", _STORY_SECONDS, self.now)
        self.speech_started_at = None

    async def stop(self) -> None:
        """The client wants no more of the answer."""
        await self._perform(self._conversation.clear_playback(self.now))

    async def hear(self, frames: Iterable[Frame]) -> None:
        """The caller's audio as it comes; words come when they are there, between two frames too."""
        for frame in frames:
            begin, end = self._frames * _FRAME, (self._frames + 1) * _FRAME
            await self._deliver(end)
            self.now, self._frames = end, self._frames + 1
            self._conversation.append_audio(frame.pcm)
            await self._perform(self._conversation.voice_activity(begin, end, frame.probability, end))

    async def _deliver(self, until: float) -> None:
        while self._waiting:
            words = min(self._waiting, key=lambda words: words.due)
            if words.due > until:
                return
            self._waiting.remove(words)
            self.now, request = words.due, words.request
            if isinstance(request, c.Glimpse):
                outputs = self._conversation.glimpsed(request.item_id, request.attempt, words.text, words.sure)
            else:
                heard = Transcribed(request.item_id, 0, words.text, len(request.pcm) / 2 / MODEL_RATE)
                outputs = self._conversation.transcribed(request.attempt, heard, self.now)
            await self._perform(outputs)

    async def _perform(self, outputs: Iterable[Output]) -> None:
        for output in outputs:
            match output:
                case c.Transcribe() | c.Glimpse():
                    self._waiting.append(await self._ears.words(output, self.now))
                case c.StopTranscribing(item_id):
                    self._waiting = [words for words in self._waiting if words.request.item_id != item_id]
                case c.JudgeTurn(item_id, attempt):
                    self._conversation.turn_judged(item_id, attempt, _FINISHED)
                case SpeechStarted():
                    self.speech_started_at = self.now


async def reaction(ears: Ears, case: Case, late: float, before: Sequence[Case]) -> float | None:
    """Seconds until a sound that begins so `late` has stopped an answer, None where it has not; cases come `before`."""
    call = VirtualCall(ears)
    for said in before:
        await call.hear(await ears.frames(_in_silence(0.0, said.samples)))
        await call.stop()
    await call.answer()
    begun_at = call.now + _INTO_STORY + late
    await call.hear(await ears.frames(_in_silence(_INTO_STORY + late, case.samples)))
    stopped_at = call.speech_started_at
    return None if stopped_at is None else stopped_at - begun_at - case.first_audible


def _in_silence(before: float, samples: Samples) -> Samples:
    around = [np.zeros(round(seconds * RATE), np.int16) for seconds in (before, _AFTER_SOUND)]
    return np.concatenate((around[0], samples, around[1]))


def row(name: str, reactions: Sequence[float | None]) -> tuple[str, ...]:
    """What became of the sounds of one name."""
    heard = [seconds for seconds in reactions if seconds is not None]
    times = [f"{percentile_ms(heard, percent):.0f}" for percent in (50, 90, 100)] if heard else [""] * 3
    return name, str(len(reactions)), str(len(heard)), *times


async def run(recordings: Path, starts: int, slower: float) -> bool:
    """Print the tables; gives whether all was well."""
    store = ModelStore.from_settings(load_settings())
    found = read_recordings(recordings)
    cases = all_cases(found, await spoken(store.verified("hibari-heart") / "hibari.onnx"), _ALL)
    vad = VadProcessor(next(store.verified("silero-vad").glob("*.onnx")))
    reactions: dict[Kind, dict[str, list[float | None]]] = {kind: {} for kind in _KINDS}
    async with recognizing(WhisperEngine(store.verified("tiny.en"), "cpu")) as recognizer:
        detecting = asyncio.create_task(vad.run())
        ears = Ears(vad, recognizer, slower)
        for case in cases:
            if case.kind in _KINDS:
                before = introduction(found) if case.kind in LATER else ()
                reactions[case.kind][case.name] = [
                    await reaction(ears, case, _FRAME * start / starts, before) for start in range(starts)
                ]
        detecting.cancel()
    columns = ("played", "stopped the answer", "after p50, ms", "p90", "max")
    print(table(("", *columns), (row(kind, [*chain(*of_kind.values())]) for kind, of_kind in reactions.items())))
    for kind in _KINDS:
        told = (row(name, of_name) for name, of_name in reactions[kind].items())
        print(table((kind, *columns), (line for line in told if kind in _INTERRUPTIONS or line[2] != "0")))
    return all(
        (seconds is not None) == (kind in _INTERRUPTIONS)
        for kind, of_kind in reactions.items()
        for of_name in of_kind.values()
        for seconds in of_name
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=Path, default=Path("tests/audio"), help="as for voicefleet bench turns")
    parser.add_argument("--starts", type=int, default=8, help="moments within a frame at which each sound begins")
    parser.add_argument("--slower", type=float, default=1.0, help="how much longer recognition takes than here")
    options = parser.parse_args()
    sys.exit(0 if asyncio.run(run(options.recordings, options.starts, options.slower)) else 1)


if __name__ == "__main__":
    main()
