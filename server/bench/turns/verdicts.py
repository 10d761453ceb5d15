"""What became of one case: pure, from what was said when and what was heard when.

A turn is split where the node takes it for ended (`input_audio_buffer.committed`) before its last audible sample has
been sent. An answer has stopped where the caller is told that speech has started (clients drop then what they have not
played), where it is cancelled, or where it falls silent.
"""

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from server.bench.turns.cases import Case, Kind
from server.bench.turns.timeline import Answer, Timeline


@dataclass(frozen=True, slots=True)
class TurnVerdict:
    """Of an utterance. Times are seconds from its last audible sample, and None where the turn was split.

    `pauses` is how many there were, `pauses_cut` in how many of them the turn ended; `talked_over` says that an answer
    was heard before the caller was done. `noticed` is when the end was told, `answered` when the answer was heard, None
    also where it never was. `extra_turns` is how many turns the node heard after the caller's.
    """

    kind: Kind
    name: str
    pauses: int
    pauses_cut: int
    split: bool
    talked_over: bool
    noticed: float | None
    answered: float | None
    extra_turns: int

    @property
    def unanswered(self) -> bool:
        """Whether the caller waited in vain."""
        return not self.split and self.answered is None


class Outcome(StrEnum):
    """What a sound did to the answer into which it came."""

    IGNORED = "ignored"
    STOPPED = "stopped"
    ANSWERED = "answered"
    """The answer went on, and another one followed, to the sound."""
    TOO_SHORT = "too_short"
    """The answer was over before the sound was, or there was none: this says nothing."""


@dataclass(frozen=True, slots=True)
class SoundVerdict:
    """Of a sound while the node speaks. `reaction` is in seconds from its first audible sample to the stop."""

    kind: Kind
    name: str
    outcome: Outcome
    reaction: float | None = None


def judge_turn(case: Case, begun_at: float, timeline: Timeline) -> TurnVerdict:
    """Of an utterance whose first sample was sent at `begun_at`."""
    end = begun_at + case.end
    early = [at for at in timeline.committed if at < end]
    late = [at for at in timeline.committed if at >= end]
    first_heard = timeline.first_heard(begun_at + case.first_audible)
    answered = timeline.first_heard(end)
    starts = [begun_at + pause.start for pause in case.pauses]
    spans = pairwise([*starts, end])  # from each pause to the next
    return TurnVerdict(
        kind=case.kind,
        name=case.name,
        pauses=len(starts),
        pauses_cut=sum(any(start <= at < following for at in early) for start, following in spans),
        split=bool(early),
        talked_over=first_heard is not None and first_heard < end,
        noticed=late[0] - end if late and not early else None,
        answered=answered - end if answered is not None and not early else None,
        extra_turns=max(0, len(late) - 1),
    )


def judge_sound(case: Case, begun_at: float, timeline: Timeline, now: float) -> SoundVerdict:
    """Of a sound whose first sample was sent at `begun_at`, by what has happened up to `now`."""
    answer = next(iter(timeline.answers.values()), None)
    if answer is None:
        return SoundVerdict(case.kind, case.name, Outcome.TOO_SHORT)
    stopped_at = _stopped_at(answer, begun_at, timeline, now)
    if stopped_at is not None:
        reaction = max(0.0, stopped_at - begun_at - case.first_audible)
        return SoundVerdict(case.kind, case.name, Outcome.STOPPED, reaction)
    if answer.plays_until < begun_at + case.end:
        return SoundVerdict(case.kind, case.name, Outcome.TOO_SHORT)
    answered = any(other.created_at >= begun_at for other in timeline.answers.values())
    return SoundVerdict(case.kind, case.name, Outcome.ANSWERED if answered else Outcome.IGNORED)


def _stopped_at(answer: Answer, since: float, timeline: Timeline, now: float) -> float | None:
    """When the caller stopped hearing the answer before its end; None while it goes on, or once it is over."""
    stops = [at for at in timeline.speech_started if at <= answer.plays_until]
    if answer.cancelled and answer.done_at is not None:
        stops.append(answer.done_at)
    if (silent_at := answer.fell_silent_at(now)) is not None:
        stops.append(silent_at)
    return min((at for at in stops if at >= since), default=None)
