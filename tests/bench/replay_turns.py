"""When would the server end these turns? `python -m tests.bench.replay_turns --recordings DIR --remember FILE`.

No node and no clock: the conversation itself is fed with recordings in virtual time, each on a call of its own, and its
recogniser and smart-turn answer after a fixed time. What they answered is remembered in a file, so that another policy
is tried in seconds. DIR is as for `voicefleet bench turns`. Every utterance is played whole, with each of its gaps
opened, and with a pause after "to", "the" and "and", which is where people think; so are spelled numbers. Printed are,
for each of these, how many pauses ended the turn and when its end was known, and what was known in turns that were cut.
"""

import argparse
import asyncio
import hashlib
import itertools
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from server.audio import Samples
from server.audio.formats import MODEL_RATE
from server.audio.resampling import Resampler
from server.bench.percentiles import percentile_ms
from server.bench.turns.cases import HESITATION_SECONDS, Case, Kind, hesitations, spelled
from server.bench.turns.plain_silence import voice_activity
from server.bench.turns.recordings import Recording, Recordings, read_recordings
from server.bench.turns.timeline import Timeline
from server.bench.turns.verdicts import TurnVerdict, judge_turn
from server.bench.turns.word_gaps import RATE, Pause, natural_pauses, opened
from server.client.playout import first_audible, last_audible
from server.conversation import commands as c
from server.conversation.config import SessionConfig
from server.conversation.conversation import Conversation
from server.conversation.endpointing import TurnDetection
from server.conversation.events import AudioCommitted, Transcribed
from server.conversation.outputs import Output
from server.models.store import ModelStore
from server.settings.loading import load_settings
from server.smart_turn_processor import SmartTurnProcessor
from server.vad_processor import FRAME_SAMPLES
from server.workers.engines.whisper import WhisperEngine
from server.workers.recognizer import Recognizer
from tests.bench.word_ends import WordEnds
from tests.support.recognizing import recognizing

# On two cores with nothing else at work, from the command to its answer.
_ANSWER_SECONDS = {c.Glimpse: 0.05, c.JudgeTurn: 0.06, c.Transcribe: 0.12}
_QUIET_AFTER_SECONDS = 4.5  # longer than any silence that is waited for
_FRAME_SECONDS = FRAME_SAMPLES / MODEL_RATE
_WHERE_PEOPLE_THINK = ("to", "the", "and")
_FROM_START_SECONDS, _FROM_END_SECONDS = 0.25, 0.5
_LONGEST_HESITATION_SECONDS = 8.0
_NUMBERS = 24

_Asked = c.Transcribe | c.Glimpse | c.JudgeTurn


class Memory:
    """What the models made of a stretch of audio, kept in a JSON file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}

    async def recall(self, kind: str, pcm: bytes, ask: Callable[[bytes], Awaitable[Any]]) -> Any:
        """What `ask` gave, or gives, of `pcm`."""
        key = f"{kind} {hashlib.sha256(pcm).hexdigest()}"
        if key not in self._known:
            self._known[key] = await ask(pcm)
        return self._known[key]

    def save(self) -> None:
        """Write it down."""
        self._file.write_text(json.dumps(self._known))


class Models:
    """The voice detector, the recogniser and smart-turn, asked once about the same audio."""

    def __init__(self, memory: Memory, vad: Path, recognizer: Recognizer, smart_turn: SmartTurnProcessor) -> None:
        self._memory = memory
        self._vad = vad
        self._recognizer = recognizer
        self._smart_turn = smart_turn

    async def voice(self, case: Case) -> list[float]:
        """The probability of a voice in each frame of a case and the silence after it."""
        found: list[float] = await self._memory.recall("voice", case.samples.tobytes(), lambda _: self._detect(case))
        return found

    async def answer(self, command: _Asked) -> Any:
        """Words or, of a turn's sound, the probability of its end."""
        match command:
            case c.Transcribe(thorough=True):
                return await self._memory.recall("thorough", command.pcm, self._transcribe_thoroughly)
            case c.Transcribe():
                return await self._memory.recall("transcribe", command.pcm, self._transcribe)
            case c.Glimpse():
                return await self._memory.recall("glimpse", command.pcm, self._glimpse)
            case c.JudgeTurn():
                return await self._memory.recall("judge", command.pcm, self._smart_turn.probability)

    async def _detect(self, case: Case) -> list[float]:
        (activity,) = await voice_activity(self._vad, [case])
        return [round(frame.probability, 4) for frame in activity]

    async def words(self, recording: Recording) -> tuple[bytes, str]:
        """A recording as PCM at 16 kHz, and what is said in it."""
        pcm = _pcm(recording.samples)
        return pcm, await self._memory.recall("transcribe", pcm, self._transcribe)

    async def _transcribe(self, pcm: bytes) -> str:
        return (await self._recognizer.transcribe(pcm)).text

    async def _transcribe_thoroughly(self, pcm: bytes) -> str:
        return (await self._recognizer.transcribe(pcm, thorough=True)).text

    async def _glimpse(self, pcm: bytes) -> tuple[str, bool]:
        seen = await self._recognizer.glimpse(pcm)
        return seen.text, seen.sure


@dataclass
class Replay:
    """One case in virtual time, on a call of its own; `log` has a line for all that became known."""

    case: Case
    models: Models
    timeline: Timeline = field(default_factory=Timeline)
    log: list[str] = field(default_factory=list)
    _due: list[tuple[float, _Asked]] = field(default_factory=list)
    _now: float = 0.0

    async def run(self) -> TurnVerdict:
        """What became of it."""
        detection = TurnDetection(eagerness="medium", create_response=False)
        ids = itertools.count()
        conversation = Conversation(SessionConfig(turn_detection=detection), lambda prefix: f"{prefix}_{next(ids)}")
        pcm = _pcm(self.case.samples)
        for index, probability in enumerate(await self.models.voice(self.case)):
            start, end = index * _FRAME_SECONDS, (index + 1) * _FRAME_SECONDS
            self._now = end
            await self._answer(conversation)
            conversation.append_audio(pcm[2 * index * FRAME_SAMPLES : 2 * (index + 1) * FRAME_SAMPLES])
            self._follow(conversation.voice_activity(start, end, probability, end))
        return judge_turn(self.case, 0.0, self.timeline)

    async def _answer(self, conversation: Conversation) -> None:
        due = [asked for asked in self._due if asked[0] <= self._now]
        self._due = [asked for asked in self._due if asked[0] > self._now]
        for _, command in sorted(due, key=lambda asked: asked[0]):
            answer = await self.models.answer(command)
            self.log.append(f"{self._now:6.2f} {type(command).__name__} {answer}")
            match command:
                case c.Transcribe():
                    words = Transcribed(command.item_id, 0, answer, len(command.pcm) / 2 / MODEL_RATE)
                    self._follow(conversation.transcribed(command.attempt, words, self._now))
                case c.Glimpse():
                    self._follow(conversation.glimpsed(command.item_id, command.attempt, *answer))
                case c.JudgeTurn():
                    self._follow(conversation.turn_judged(command.item_id, command.attempt, answer))

    def _follow(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            match output:
                case c.Transcribe() | c.Glimpse() | c.JudgeTurn():
                    self._due.append((self._now + _ANSWER_SECONDS[type(output)], output))
                case c.StopTranscribing():
                    self._due.clear()
                case c.TurnEnded():
                    self.log.append(f"{self._now:6.2f} {output.reason}, {output.silence:.2f} s")
                case AudioCommitted():
                    self.timeline.committed.append(self._now)


def _pcm(samples: Samples) -> bytes:
    """Samples at 24 kHz as 16-bit PCM at 16 kHz."""
    resampler = Resampler(RATE, MODEL_RATE)
    return np.concatenate((resampler.push(samples), resampler.flush())).tobytes()


async def after_words(recordings: Sequence[Recording], models: Models, ends: WordEnds) -> list[Case]:
    """Each with a pause where a sentence can't end, a case for each; the lengths of the pauses come in turn."""
    lengths, cases = itertools.cycle(HESITATION_SECONDS), []
    for recording in recordings:
        first, last = first_audible(recording.samples) / RATE, last_audible(recording.samples) / RATE
        for word, at in ends.find(*await models.words(recording)):
            if word in _WHERE_PEOPLE_THINK and first + _FROM_START_SECONDS < at < last - _FROM_END_SECONDS:
                seconds = next(lengths)
                samples = opened(recording.samples, Pause(at, at), seconds)
                name = f"{recording.name} {word} +{seconds:g} s"
                cases.append(Case(Kind.HESITATION, name, samples, (Pause(at, at + seconds),)))
    return cases


async def replay(name: str, cases: Sequence[Case], models: Models) -> None:
    """Play the cases and print what came of them."""
    verdicts, logs = [], []
    for case in track(cases, name):
        quiet = np.zeros(round(_QUIET_AFTER_SECONDS * RATE), np.int16)
        one = Replay(replace(case, samples=np.concatenate((case.samples, quiet))), models)
        verdicts.append(await one.run())
        if verdicts[-1].split:
            logs += [case.name, *one.log]
    pauses, cut = sum(turn.pauses for turn in verdicts), sum(turn.pauses_cut for turn in verdicts)
    noticed = [turn.noticed for turn in verdicts if turn.noticed is not None]
    median, late = percentile_ms(noticed, 50), percentile_ms(noticed, 90)
    print(*logs, sep="\n")
    print(f"{name}: {len(cases)} turns, {cut} of {pauses} pauses cut; end told p50 {median:.0f} ms, p90 {late:.0f} ms")


async def run(found: Recordings, memory: Memory) -> None:
    """All of it."""
    store = ModelStore.from_settings(load_settings())
    smart_turn = SmartTurnProcessor(next(store.verified("smart-turn-v3.2").glob("*.onnx")))
    whisper = store.verified("tiny.en")
    short = [recording for recording in found.utterances if recording.seconds < _LONGEST_HESITATION_SECONDS]
    async with recognizing(WhisperEngine(whisper, "cpu")) as recognizer:
        models = Models(memory, store.verified("silero-vad") / "silero_vad.onnx", recognizer, smart_turn)
        whole = [Case(Kind.COMPLETE, one.name, one.samples, natural_pauses(one.samples)) for one in found.utterances]
        await replay("whole", whole, models)
        await replay("opened gaps", list(hesitations(found.utterances)), models)
        await replay("after function words", await after_words(short, models, WordEnds(whisper)), models)
        await replay("numbers", list(itertools.islice(spelled(found.digits), _NUMBERS)), models)
    smart_turn.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=Path, required=True)
    parser.add_argument("--remember", type=Path, required=True)
    options = parser.parse_args()
    memory = Memory(options.remember)
    asyncio.run(run(read_recordings(options.recordings), memory))
    memory.save()


if __name__ == "__main__":
    main()
