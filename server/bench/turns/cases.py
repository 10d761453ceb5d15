"""What callers do: utterances of five kinds whose end is to be found, and sounds of three kinds into an answer.

Pure. Made from recordings, as many as asked for and the same each time; each case knows where it pauses and ends, in
seconds from its first sample.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from itertools import cycle, islice

import numpy as np

from server.audio import Samples
from server.bench.turns.noises import far, synthetic_noises
from server.bench.turns.recordings import Recording, Recordings
from server.bench.turns.word_gaps import RATE, Pause, joined, natural_pauses, opened, word_gaps
from server.client.playout import first_audible, last_audible
from server.client.transcripts import DIGITS

HESITATION_SECONDS = (0.4, 0.8, 1.2, 2.0)
SPELLING_SECONDS = (0.3, 0.5, 0.65, 0.8)
_DIGITS_OF_A_NUMBER = 6
_LONG_SECONDS = 6.0
_NOISE_SECONDS = 3.0
_FAR_VOICE_AFTER_SECONDS = 0.1
_INTRODUCTIONS = 2
_CROWD = 4


class Kind(StrEnum):
    """What a caller does."""

    COMPLETE = "complete"
    HESITATION = "hesitation"
    SPELLED = "spelled"
    LONG = "long"
    NOISE = "noise"
    BACKCHANNEL = "backchannel"
    INTERRUPTION = "interruption"
    LATER_NOISE = "later_noise"
    LATER_BACKCHANNEL = "later_backchannel"
    LATER_INTERRUPTION = "later_interruption"
    FAR_VOICE = "far_voice"


UTTERANCES = (Kind.COMPLETE, Kind.HESITATION, Kind.SPELLED, Kind.LONG)
"""Those that are said while nobody else speaks: of them the curve is made."""

TURNS = (*UTTERANCES, Kind.FAR_VOICE)
"""Those whose end is to be found; the others come into an answer."""

_LATER_SOUNDS = (Kind.LATER_NOISE, Kind.LATER_BACKCHANNEL, Kind.LATER_INTERRUPTION)

LATER = (*_LATER_SOUNDS, Kind.FAR_VOICE)
"""Those that come once the caller has spoken, so that the node knows how loud they are."""

_OF_EACH_KIND = {
    Kind.COMPLETE: 0.75,
    Kind.HESITATION: 1.0,
    Kind.SPELLED: 0.25,
    Kind.LONG: 0.125,
    Kind.NOISE: 0.75,
    Kind.BACKCHANNEL: 0.5,
    Kind.INTERRUPTION: 0.75,
    Kind.LATER_NOISE: 0.5,
    Kind.LATER_BACKCHANNEL: 0.25,
    Kind.LATER_INTERRUPTION: 0.25,
    Kind.FAR_VOICE: 0.25,
}
"""How many there are for each hesitation: that one caller is done with 16 of them, and the rest, in nine minutes."""


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to do. `samples` are at 24 kHz, of which those after `spoken` seconds are somebody else's, if given."""

    kind: Kind
    name: str
    samples: Samples
    pauses: tuple[Pause, ...] = ()
    spoken: float | None = None

    @property
    def first_audible(self) -> float:
        """When it can first be heard."""
        return first_audible(self.samples) / RATE

    @property
    def end(self) -> float:
        """When the caller can last be heard: the true end."""
        return last_audible(self.samples) / RATE if self.spoken is None else self.spoken

    @property
    def seconds(self) -> float:
        """How long all of it lasts."""
        return len(self.samples) / RATE


def introduction(recordings: Recordings) -> list[Case]:
    """What a caller says before the kinds in `LATER`; empty where the recordings hold nothing short enough."""
    return list(islice(complete(recordings.utterances), _INTRODUCTIONS))


def all_cases(recordings: Recordings, spoken: Mapping[Kind, Sequence[Recording]], size: int) -> list[Case]:
    """Cases for `size` hesitations and the other kinds in proportion, kind by kind.

    `spoken` has what no folder needs to hold: backchannels, for one without any, and short interruptions. A kind that
    the recordings don't allow is left out.
    """
    makers = {
        Kind.COMPLETE: complete(recordings.utterances),
        Kind.HESITATION: hesitations(recordings.utterances),
        Kind.SPELLED: spelled(recordings.digits),
        Kind.LONG: long_speech(recordings.utterances),
        **_sounds(recordings, spoken),
    }
    if introduction(recordings):
        later = _sounds(recordings, spoken).values()
        makers |= {
            kind: map(partial(replace, kind=kind), cases) for kind, cases in zip(_LATER_SOUNDS, later, strict=True)
        }
        makers[Kind.FAR_VOICE] = far_voices(recordings.utterances)
    return [case for kind, made in makers.items() for case in islice(made, max(1, round(size * _OF_EACH_KIND[kind])))]


def complete(utterances: Sequence[Recording]) -> Iterator[Case]:
    """Each as it was said, over and over again: how soon it is answered differs from time to time."""
    for recording in cycle(_short(utterances)):
        yield Case(Kind.COMPLETE, recording.name, recording.samples, natural_pauses(recording.samples))


def hesitations(utterances: Sequence[Recording]) -> Iterator[Case]:
    """Each with one gap between words opened, the longest gaps first; the pauses come in turn."""
    openings = [(recording, word_gaps(recording.samples)) for recording in _short(utterances)]
    most = max((len(gaps) for _, gaps in openings), default=0)
    lengths = cycle(HESITATION_SECONDS)
    for nth in range(most):
        for recording, gaps in openings:
            if nth < len(gaps):
                seconds = next(lengths)
                samples = opened(recording.samples, gaps[nth], seconds)
                pauses = natural_pauses(samples)
                yield Case(Kind.HESITATION, f"{recording.name} +{seconds:g} s", samples, pauses)
        next(lengths)  # so that an utterance does not meet the same pause again


def spelled(digits: Mapping[str, Mapping[str, Recording]]) -> Iterator[Case]:
    """Numbers of six digits, the gap between two of them the same within a number, by each speaker in turn."""
    chance = random.Random(0)  # noqa: S311  # the same numbers each time, and no secret
    speakers = [said for said in digits.values() if len(said) > 1]
    for seconds in cycle(SPELLING_SECONDS) if speakers else ():
        for said in speakers:
            number = chance.choices([digit for digit in DIGITS if digit in said], k=_DIGITS_OF_A_NUMBER)
            samples, pauses = joined([said[digit].samples for digit in number], seconds)
            yield Case(Kind.SPELLED, f"{' '.join(number)} +{seconds:g} s", samples, pauses)


def long_speech(utterances: Sequence[Recording]) -> Iterator[Case]:
    """Utterances of more than six seconds, with the pauses that their speakers made."""
    for recording in utterances:
        if recording.seconds > _LONG_SECONDS:
            yield Case(Kind.LONG, recording.name, recording.samples, natural_pauses(recording.samples))


def noises(recordings: Recordings) -> Iterator[Case]:
    """Others in the room, then made noises and recorded ones in turn; of long ones the first seconds."""
    talk = [recording.samples for recording in _short(recordings.utterances)[:_CROWD]]
    elsewhere = [Recording("far talker", far([samples])) for samples in talk[:1]]
    elsewhere += [Recording("far talkers", far(talk))] if len(talk) > 1 else []
    made = [Recording(name, samples) for name, samples in synthetic_noises().items()]
    recorded = list(recordings.noises)
    mixed = [one for pair in zip(made, recorded, strict=False) for one in pair]
    rest = made[len(recorded) :] + recorded[len(made) :]
    for recording in elsewhere + mixed + rest:
        audible = recording.samples[first_audible(recording.samples) :]
        yield Case(Kind.NOISE, recording.name, audible[: round(_NOISE_SECONDS * RATE)])


def far_voices(utterances: Sequence[Recording]) -> Iterator[Case]:
    """Each as it was said, and right after it somebody else far from the microphone, for some seconds."""
    talk = _short(utterances)
    for said, other in zip(talk, talk[1:] + talk[:1], strict=True):
        spoken = last_audible(said.samples)
        elsewhere = far([other.samples[first_audible(other.samples) :]])[: round(_NOISE_SECONDS * RATE)]
        pause = np.zeros(round(_FAR_VOICE_AFTER_SECONDS * RATE), np.int16)
        samples = np.concatenate((said.samples[:spoken], pause, elsewhere))
        pauses = natural_pauses(said.samples)
        yield Case(Kind.FAR_VOICE, f"{said.name}, {other.name} far away", samples, pauses, spoken / RATE)


def interruptions(utterances: Sequence[Recording], spoken: Sequence[Recording]) -> Iterator[Case]:
    """A few short words, then somebody who just begins to talk, in turn."""
    talk = sorted(_short(utterances), key=lambda recording: recording.seconds)
    for pair in zip(spoken, talk, strict=False):
        yield from _as_they_are(Kind.INTERRUPTION, pair)


def _sounds(recordings: Recordings, spoken: Mapping[Kind, Sequence[Recording]]) -> dict[Kind, Iterator[Case]]:
    return {
        Kind.NOISE: noises(recordings),
        Kind.BACKCHANNEL: _as_they_are(Kind.BACKCHANNEL, recordings.backchannels or spoken[Kind.BACKCHANNEL]),
        Kind.INTERRUPTION: interruptions(recordings.utterances, spoken[Kind.INTERRUPTION]),
    }


def _as_they_are(kind: Kind, recordings: Sequence[Recording]) -> Iterator[Case]:
    for recording in recordings:
        yield Case(kind, recording.name, recording.samples)


def _short(utterances: Sequence[Recording]) -> list[Recording]:
    return [recording for recording in utterances if recording.seconds <= _LONG_SECONDS]
