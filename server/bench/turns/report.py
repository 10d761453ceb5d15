"""The figures of a turn-taking benchmark: what all cases of a kind come to, and one point of a curve.

Pure. Times are reported in ms, shares in per cent.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from server.bench.load_report import TRUSTED_LAG_MS, Spread, spread
from server.bench.node_usage import NodeUsage
from server.bench.turns.cases import TURNS, UTTERANCES, Kind
from server.bench.turns.verdicts import Outcome, SoundVerdict, TurnVerdict

_Verdict = TypeVar("_Verdict", TurnVerdict, SoundVerdict)


@dataclass(slots=True)
class Played:
    """What happened. `failures` has a line per failed call, `not_played` counts the cases for which time was short.

    `lag` is by how many seconds each frame left a caller late, `call_seconds` how long all calls lasted together.
    """

    turns: list[TurnVerdict] = field(default_factory=list)
    sounds: list[SoundVerdict] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    not_played: int = 0
    lag: "array[float]" = field(default_factory=lambda: array("d"))
    call_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Point:
    """False cut-offs, in per cent of all pauses, at a mean delay from the end of speech to the end of the turn."""

    delay_ms: float
    cut_offs: float


@dataclass(frozen=True, slots=True)
class SilencePoint:
    """The same of a rule that waits for so much silence."""

    silence_ms: float
    point: Point


@dataclass(frozen=True, slots=True)
class TurnFigures:
    """Of the utterances of a kind; see `TurnVerdict`. Delays are of turns that were not split."""

    kind: Kind
    turns: int
    split: int
    pauses: int
    pauses_cut: int
    talked_over: int
    extra_turns: int
    unanswered: int
    noticed: Spread | None
    answered: Spread | None


@dataclass(frozen=True, slots=True)
class SoundFigures:
    """Of the sounds of a kind while the node speaks; see `Outcome`. `reaction` is of those that stopped it."""

    kind: Kind
    sounds: int
    stopped: int
    answered: int
    ignored: int
    too_short: int
    reaction: Spread | None

    @property
    def wrong(self) -> int:
        """Real interruptions that were missed; of all else, what was taken for one."""
        is_interruption = self.kind in (Kind.INTERRUPTION, Kind.LATER_INTERRUPTION)
        return self.answered + (self.ignored if is_interruption else self.stopped)


@dataclass(frozen=True, slots=True)
class TurnsReport:
    """All figures. `point` and `plain_silence` are of the same utterances; a point is None of nothing.

    `node` is what the node spent, where its metrics are known.
    """

    turn_detection: str
    calls: int
    turns: Sequence[TurnFigures]
    sounds: Sequence[SoundFigures]
    point: Point | None
    plain_silence: Sequence[SilencePoint]
    failures: Sequence[str]
    not_played: int
    caller_lag: Spread | None
    node: NodeUsage | None
    turn_verdicts: Sequence[TurnVerdict]
    sound_verdicts: Sequence[SoundVerdict]

    @property
    def trusted(self) -> bool:
        """Whether the callers were punctual enough for the figures to be the node's and not their own."""
        return self.caller_lag is not None and self.caller_lag.p99 <= TRUSTED_LAG_MS

    @property
    def unanswered(self) -> int:
        """Turns after which the caller waited in vain."""
        return sum(figures.unanswered for figures in self.turns)


def report(
    turn_detection: str,
    calls: int,
    played: Played,
    plain_silence: Sequence[SilencePoint],
    node: NodeUsage | None = None,
) -> TurnsReport:
    """The figures of what happened."""
    return TurnsReport(
        turn_detection=turn_detection,
        calls=calls,
        turns=[_turn_figures(kind, turns) for kind in TURNS if (turns := _of(kind, played.turns))],
        sounds=[_sound_figures(kind, sounds) for kind in Kind if (sounds := _of(kind, played.sounds))],
        point=point([turn for turn in played.turns if turn.kind in UTTERANCES]),
        plain_silence=plain_silence,
        failures=played.failures,
        not_played=played.not_played,
        caller_lag=spread(played.lag),
        node=node,
        turn_verdicts=played.turns,
        sound_verdicts=played.sounds,
    )


def point(turns: Sequence[TurnVerdict]) -> Point | None:
    """Where these turns lie between patience and haste; None without a pause or without an end that was noticed."""
    pauses = sum(turn.pauses for turn in turns)
    delays = [turn.noticed for turn in turns if turn.noticed is not None]
    if not pauses or not delays:
        return None
    cut = sum(turn.pauses_cut for turn in turns)
    return Point(round(1000 * sum(delays) / len(delays), 1), round(100 * cut / pauses, 1))


def _of(kind: Kind, verdicts: Sequence[_Verdict]) -> list[_Verdict]:
    return [verdict for verdict in verdicts if verdict.kind is kind]


def _turn_figures(kind: Kind, turns: Sequence[TurnVerdict]) -> TurnFigures:
    return TurnFigures(
        kind=kind,
        turns=len(turns),
        split=sum(turn.split for turn in turns),
        pauses=sum(turn.pauses for turn in turns),
        pauses_cut=sum(turn.pauses_cut for turn in turns),
        talked_over=sum(turn.talked_over for turn in turns),
        extra_turns=sum(turn.extra_turns for turn in turns),
        unanswered=sum(turn.unanswered for turn in turns),
        noticed=spread(turn.noticed for turn in turns if turn.noticed is not None),
        answered=spread(turn.answered for turn in turns if turn.answered is not None),
    )


def _sound_figures(kind: Kind, sounds: Sequence[SoundVerdict]) -> SoundFigures:
    outcomes = [sound.outcome for sound in sounds]
    return SoundFigures(
        kind=kind,
        sounds=len(sounds),
        stopped=outcomes.count(Outcome.STOPPED),
        answered=outcomes.count(Outcome.ANSWERED),
        ignored=outcomes.count(Outcome.IGNORED),
        too_short=outcomes.count(Outcome.TOO_SHORT),
        reaction=spread(sound.reaction for sound in sounds if sound.reaction is not None),
    )
