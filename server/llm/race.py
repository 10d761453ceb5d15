"""Which of several language models is asked for an answer, and when: in their order, the next as soon as one fails, or
beside one that has not begun in time (a hedged request). The first to write wins.

Pure. It asks nobody; `server.llm_processor` does. `now` is monotonic seconds. Source of hedging: J. Dean and L. A.
Barroso, The Tail at Scale (2013).
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from server.llm.breaker import Breaker
from server.llm.interface import LlmError, LlmFailure

Reason = Literal[LlmFailure, "slow", "open"]
"""Why another model was asked: the one before it failed, had not begun in time, or was left alone by its breaker."""

REASONS: tuple[Reason, ...] = (*get_args(LlmFailure), "slow", "open")

_SAMPLES = 100
_LEAST_SAMPLES = 10
_UNKNOWN_SECONDS = 1.0
_HEDGE_SECONDS = (0.3, 2.0)
_AT_ONCE = 2
_LEAST_PATIENCE_SECONDS = 1.0
_RETRY_SECONDS = (0.05, 0.25)  # a random wait in between, so that calls that failed together do not return together
_LONGEST_RETRY_SECONDS = 2.0  # that a server may ask for; a caller who would wait longer hears a line instead
# The request's own fault, which any model may find: it must not cost other calls their model.
_FAULTS_OF_REQUEST = ("invalid_request", "context_length_exceeded")


class ModelHealth:
    """What is known of one model: its `breaker`, and how soon it began to write lately."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.breaker = Breaker()
        self._first_tokens: deque[float] = deque(maxlen=_SAMPLES)

    @property
    def hedge_seconds(self) -> float:
        """How long it may take to begin before another is asked beside it: the 95th percentile, within bounds."""
        if len(self._first_tokens) < _LEAST_SAMPLES:
            return _UNKNOWN_SECONDS
        rank = math.ceil(0.95 * len(self._first_tokens))
        least, most = _HEDGE_SECONDS
        return min(max(least, sorted(self._first_tokens)[rank - 1]), most)

    def began(self, seconds: float) -> None:
        """It wrote its first token so long after it was asked."""
        self._first_tokens.append(seconds)

    def succeeded(self) -> None:
        """It gave an answer, as far as that was wanted."""
        self.breaker.succeeded()

    def failed(self, error: LlmError, now: float) -> None:
        """It gave no answer, or broke off."""
        if error.failure not in _FAULTS_OF_REQUEST:
            self.breaker.failed(now, error.retry_after)

    def lost(self, seconds: float, now: float) -> None:
        """Another began first; this one had not begun after so long, which is the least that it would have taken."""
        self._first_tokens.append(seconds)
        self.breaker.failed(now)


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the model of this index, after `wait` seconds; it may be silent for `patience` seconds before it fails.

    A `hedge` is asked beside another one.
    """

    index: int
    patience: float
    wait: float = 0.0
    hedge: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for those that were asked, and ask for the next step again at `until` (None: only once one has spoken)."""

    until: float | None


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Nobody is left to ask."""


Step = Ask | Wait | GiveUp


@dataclass(frozen=True, slots=True)
class Failover:
    """Another model answers in place of `origin`, or goes on with what that one began: then it may be the same one."""

    origin: str
    target: str
    reason: Reason


class Race:
    """The models' attempts at one answer.

    Each is asked once, two at a time at most, those that their breakers leave alone at the very last. If all have
    failed, one that may do better is asked a second time: for the answer, or for the rest of what was begun.
    """

    def __init__(
        self,
        models: Sequence[ModelHealth],
        patience: float,
        now: float,
        jitter: Callable[[], float],
    ) -> None:
        """All together may be silent for about `patience` seconds before the answer fails. `jitter` gives 0 to 1."""
        self._models = models
        self._patience = patience
        self._ends_at = now + patience
        self._jitter = jitter
        self._left = sorted(range(len(models)), key=lambda index: models[index].breaker.state(now) == "open")
        self._running: dict[int, float] = {}  # since when
        self._hedges: set[int] = set()
        self._begun = False
        self._again: tuple[int, float] | None = None  # and not before when
        self._may_retry = True
        self._previous: tuple[int, Reason] | None = (0, "open") if self._left[0] != 0 else None
        self._failovers: dict[int, Failover] = {}

    def next(self, now: float) -> Step:
        """What to do now. Tell when a model is `asked`, and how it goes."""
        patience = min(self._patience, max(_LEAST_PATIENCE_SECONDS, self._ends_at - now))
        if self._running:
            return self._beside(now, patience)
        if self._left:
            return Ask(self._left[0], patience)
        if self._again is not None:
            index, not_before = self._again
            least, most = _RETRY_SECONDS
            # In the middle of a sentence nobody is kept waiting.
            pause = 0.0 if self._begun else least + (most - least) * self._jitter()
            return Ask(index, patience, wait=max(not_before - now, pause))
        return GiveUp()

    def _beside(self, now: float, patience: float) -> Step:
        """Whether another is asked beside those that have not begun."""
        if not self._left or len(self._running) == _AT_ONCE:
            return Wait(None)
        [(slow, since)] = self._running.items()
        due = since + self._models[slow].hedge_seconds
        return Wait(due) if now < due else Ask(self._left[0], patience, hedge=True)

    def asked(self, ask: Ask, now: float) -> None:
        """What `next` said is done."""
        if ask.index in self._left:
            self._left.remove(ask.index)
        else:
            self._again, self._may_retry = None, False
        if ask.hedge:
            self._hedges.add(ask.index)
            self._previous = next(iter(self._running)), "slow"
        if self._previous and (self._begun or self._previous[0] != ask.index):
            origin, reason = self._previous
            self._failovers[ask.index] = Failover(self._models[origin].name, self._models[ask.index].name, reason)
        self._models[ask.index].breaker.asked(now)
        self._running[ask.index] = now + ask.wait

    def began(self, index: int, now: float) -> list[int]:
        """A model writes; gives the others that were asked, whose answers nobody wants any more."""
        self._models[index].began(now - self._running.pop(index))
        lost = list(self._running)
        for other in lost:
            self._models[other].lost(now - self._running.pop(other), now)
        self._left += lost  # they may yet have to finish what this one begins
        self._begun = True
        return lost

    def failed(self, index: int, error: LlmError, now: float) -> None:
        """A model failed, before or after it began."""
        broke_off = self._running.pop(index, None) is None
        if broke_off:
            self._ends_at = now + self._patience
        self._models[index].failed(error, now)
        self._previous = index, error.failure
        # A timeout has used up the caller's time, and a long wait would.
        in_time = error.failure != "timeout" and error.retry_after <= _LONGEST_RETRY_SECONDS
        if self._may_retry and self._again is None and error.retryable and in_time:
            self._again = index, now + error.retry_after

    def succeeded(self, index: int) -> None:
        """A model has given its answer, as far as that was wanted."""
        self._models[index].succeeded()

    def is_hedge(self, index: int) -> bool:
        """Whether the model was asked beside one that was slow."""
        return index in self._hedges

    def failover(self, index: int) -> Failover | None:
        """In whose place the model was asked; None if it was the first choice."""
        return self._failovers.get(index)
