"""A folder of recorded speech and noise, sorted by what each can be used for.

WAV files with what is said in each: in a text file of the same name beside it (`order.wav`, `order.txt`), or in the
`manifest.json` of its folder or of the topmost (a list of {"path", "text"}). A digit needs neither where its name is as
in the Free Spoken Digit Dataset (`7_george_0.wav`: digit, speaker, number). What is said sorts them: a digit alone is
part of a number, "mhm" or "okay" a backchannel, all else an utterance. Files in a folder called `noise` are noise, and
need no text.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from server.audio import Samples
from server.bench.turns.word_gaps import RATE
from server.client.caller import samples_from
from server.client.playout import is_audible
from server.client.transcripts import DIGITS, words
from server.errors import VoicefleetError

LONGEST_SECONDS = 20.0
"""A longer recording is left out: one caller would take minutes for a few."""

BACKCHANNELS = ("mhm", "mm-hmm", "uh-huh", "okay", "ok", "right", "yeah", "yes", "sure", "i see", "got it", "all right")
"""What a listener says who does not want the word."""

_BACKCHANNEL_WORDS = {" ".join(words(text)) for text in BACKCHANNELS}
_NOISE_FOLDER = "noise"
_DIGIT_BY_NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>[^_]+)_\d+")
_TAKES = (
    "takes a folder of WAV files, each with its words in a .txt of the same name or in a manifest.json "
    '([{"path": ..., "text": ...}]); noise, which has none, lies in a folder called noise'
)


class RecordingsError(VoicefleetError):
    """The folder, or a file in it, can't be used."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}; {_TAKES}")


@dataclass(frozen=True, slots=True)
class Recording:
    """Something to be heard by a node; `samples` are at 24 kHz."""

    name: str
    samples: Samples

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / RATE


@dataclass(slots=True)
class Recordings:
    """All of a folder. `digits` has those of each speaker (a folder, or a name in it) by what is said; `left_out` are
    names."""

    utterances: list[Recording] = field(default_factory=list)
    digits: dict[str, dict[str, Recording]] = field(default_factory=dict)
    backchannels: list[Recording] = field(default_factory=list)
    noises: list[Recording] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def read_recordings(folder: Path) -> Recordings:
    """What the folder and those in it hold, in the order of their names. Raises `RecordingsError` and `WavError`."""
    paths = sorted(folder.rglob("*.wav"))
    if not paths:
        raise RecordingsError(folder, "there are no WAV files")
    texts = {
        path: text for place in {folder, *(path.parent for path in paths)} for path, text in _listed(place).items()
    }
    found = Recordings()
    for path in paths:
        recording = Recording(path.relative_to(folder).as_posix(), samples_from(path))
        if not is_audible(recording.samples):
            raise RecordingsError(path, "nothing in it is audible (40 dB below full scale)")
        if path.parent.name == _NOISE_FOLDER:
            found.noises.append(recording)
        else:
            _sort(found, path, recording, words(_text(path, texts)))
    if not found.utterances:
        raise RecordingsError(folder, "there is no utterance of more than one word and at most 20 s")
    return found


def _sort(found: Recordings, path: Path, recording: Recording, said: Sequence[str]) -> None:
    if len(said) == 1 and said[0] in DIGITS:
        named = _DIGIT_BY_NAME.fullmatch(path.stem)
        speaker = path.parent / named["speaker"] if named else path.parent
        found.digits.setdefault(speaker.as_posix(), {}).setdefault(said[0], recording)
    elif " ".join(said) in _BACKCHANNEL_WORDS:
        found.backchannels.append(recording)
    elif recording.seconds > LONGEST_SECONDS:
        found.left_out.append(recording.name)
    else:
        found.utterances.append(recording)


def _text(path: Path, texts: Mapping[Path, str]) -> str:
    if path in texts:
        return texts[path]
    if named := _DIGIT_BY_NAME.fullmatch(path.stem):
        return DIGITS[int(named["digit"])]
    try:
        return path.with_suffix(".txt").read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise RecordingsError(path, "its words are nowhere to be read") from None


def _listed(folder: Path) -> dict[Path, str]:
    """What the manifest of a folder says, if it has one."""
    manifest = folder / "manifest.json"
    try:
        return {folder / entry["path"]: str(entry["text"]) for entry in json.loads(manifest.read_text("utf-8"))}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError):
        raise RecordingsError(manifest, "it can't be read as such a list") from None
