"""What a load of callers says about a node: distributions, the language model's share, and whether to believe it.

Pure. Times come in seconds and are reported in ms.

The language model's share of a turn is told by the node's own waterfall. The model is asked at the later of two
moments, the end of the caller's turn and the transcript. From there to its first token is the wait for that token; from
there on to the first speakable clause it writes. Voice to voice without the wait for the first token, less the silence
that ends a turn, is what the server itself adds.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from server.bench.node_usage import NodeUsage
from server.observability.waterfall import STAGES

# A caller that is later than this in one frame of a hundred is too busy to measure anyone else.
TRUSTED_LAG_MS = 10.0
# An answer leaves as a burst until the caller's cushion is full, and from then on frame by frame as each is due.
_FULL_CUSHION_SECONDS = 0.02
_MODEL_STAGES = ("llm_first_token", "llm_first_clause")


@dataclass(frozen=True, slots=True)
class TurnFigures:
    """One turn as its caller lived it; see `caller.Turn` and `Playout` for what each figure is."""

    voice_to_voice: float | None
    stages_ms: Mapping[str, float]
    completed: bool
    answers: int
    margins: Sequence[float]
    words: int = 0
    word_errors: int = 0


@dataclass(slots=True)
class LoadResult:
    """What happened. `failures` has a line per failed call; `lag` is by how many seconds each frame left a caller late.

    `call_seconds` is how long all calls lasted together, `silence` how many seconds of it ended a caller's turn.
    """

    turns: list[TurnFigures] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    refused: int = 0
    call_seconds: float = 0.0
    lag: "array[float]" = field(default_factory=lambda: array("d"))
    silence: float | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """A distribution in ms, of which each figure occurred (nearest rank)."""

    count: int
    p50: float
    p90: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class LoadReport:
    """The figures of a load. A spread is None where there was nothing to measure.

    `without_first_token` is voice to voice less the wait for the model's first token, `without_model` also less what it
    took to write the first clause. `stages` holds each stage's own time; `beside` is what the waterfall does not see:
    how late the end of speech was found, the wire, the caller. `cut_off` counts answers that a caller who had only
    paused talked into; `frame_lateness` is explained at `frame_lateness`.
    """

    turns: int
    failures: Sequence[str]
    refused: int
    unanswered: int
    cut_off: int
    silence_ms: float | None
    voice_to_voice: Spread | None
    without_first_token: Spread | None
    without_model: Spread | None
    stages: Mapping[str, Spread | None]
    beside: Spread | None
    underruns: int
    frame_lateness: Spread | None
    words: int
    word_errors: int
    call_seconds: float
    caller_lag: Spread | None
    node: NodeUsage | None

    @property
    def trusted(self) -> bool:
        """Whether the callers were punctual enough for the figures to be the node's and not their own."""
        return self.caller_lag is not None and self.caller_lag.p99 <= TRUSTED_LAG_MS


def report(result: LoadResult, node: NodeUsage | None = None) -> LoadReport:
    """The figures of what happened."""
    turns = result.turns
    answered = [(turn.voice_to_voice, own_times(turn)) for turn in turns if turn.voice_to_voice is not None]
    waits = [(whole, own.get("llm_first_token", 0.0), own.get("llm_first_clause", 0.0)) for whole, own in answered]
    return LoadReport(
        turns=len(turns),
        failures=result.failures,
        refused=result.refused,
        unanswered=sum(turn.voice_to_voice is None or not turn.completed for turn in turns),
        cut_off=sum(max(0, turn.answers - 1) for turn in turns),
        silence_ms=None if result.silence is None else result.silence * 1000,
        voice_to_voice=spread(whole for whole, _, _ in waits),
        without_first_token=spread(whole - token for whole, token, _ in waits),
        without_model=spread(whole - token - clause for whole, token, clause in waits),
        stages={stage: spread(own[stage] for _, own in answered if stage in own) for stage in STAGES},
        beside=spread(whole - sum(own.values()) for whole, own in answered if own),
        underruns=sum(margin < 0 for turn in turns for margin in turn.margins),
        frame_lateness=spread(late for turn in turns for late in frame_lateness(turn.margins)),
        words=sum(turn.words for turn in turns),
        word_errors=sum(turn.word_errors for turn in turns),
        call_seconds=round(result.call_seconds, 1),
        caller_lag=spread(result.lag),
        node=node,
    )


def own_times(turn: TurnFigures) -> dict[str, float]:
    """Seconds that each stage took itself, none of them below zero: a transcript begun at a pause can be early."""
    own: dict[str, float] = {}
    reached = 0.0
    for stage in STAGES:
        if stage in turn.stages_ms:
            at = turn.stages_ms[stage] / 1000
            own[stage] = max(0.0, at - reached)
            reached = max(reached, at)
    return own


def frame_lateness(margins: Sequence[float]) -> list[float]:
    """By how many seconds each frame of an answer came late, judged by the caller's cushion.

    Once the cushion has been full, a frame is sent whenever there is room for it; so each finds the same cushion, and
    what it finds missing is how late it comes. That of a slow voice or model counts as well as the gateway's.
    """
    if not margins:
        return []
    full = max(margins)
    first = next(index for index, margin in enumerate(margins) if margin > full - _FULL_CUSHION_SECONDS)
    return [full - margin for margin in margins[first:]]


def spread(seconds: Iterable[float]) -> Spread | None:
    """The distribution of `seconds`; None of nothing."""
    ms = np.fromiter(seconds, np.float64) * 1000
    if not len(ms):
        return None
    p50, p90, p99, most = np.percentile(ms, (50, 90, 99, 100), method="inverted_cdf").round(2).tolist()
    return Spread(len(ms), p50, p90, p99, most)
