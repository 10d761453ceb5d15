"""Calls as a gateway has them: an agent answers in clauses with pauses, is interrupted, and listens.

Deterministic from a seed. It knows the voice only by asking for clauses and hearing when their audio comes.
"""

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Protocol

from server.workers.engines.chatterbox.speech_tokens import TOKEN_RATE
from server.workers.engines.chatterbox.stream import HOPS, Stream

_PAUSE_SECONDS = 0.2  # between two clauses
_CLAUSES = (1, 4)  # of an answer
_FIRST_TOKENS, _TOKENS = (25, 80), (100.0, 40.0, 25, 280)  # the first one is cut short; mean, deviation, bounds
_ANSWER_SECONDS = 9.0  # about, of speech: calls are spread over that and the caller's turn
_INTERRUPTED = 0.15
_TOKEN_CAP = 1000
_ASKED_AHEAD_SECONDS = 1.0  # the gateway's cushion: it asks for a clause when that much of the last is left to play


@dataclass(frozen=True, slots=True)
class Traffic:
    """So many calls, whose agents talk for a `talking` share of the time."""

    calls: int
    talking: float = 0.45
    early: bool = True
    """Whether the next clause is handed over, with its due time, as soon as the one before is made. Else it is asked
    for, as of now, when a second of the one before is left to play."""
    seed: int = 0
    plan: Sequence[int] = HOPS
    """Tokens of a clause's hops, as `Stream.plan`."""


def answer_tokens(random: Random) -> list[int]:
    """The tokens of an answer's clauses."""
    mean, deviation, least, most = _TOKENS
    first = random.randint(*_FIRST_TOKENS)
    more = random.randint(*_CLAUSES) - 1
    return [first, *(round(min(max(random.gauss(mean, deviation), least), most)) for _ in range(more))]


class Voice(Protocol):
    """What speaks."""

    @property
    def now(self) -> float:
        """Virtual seconds."""
        ...

    def submit(self, stream: Stream, speech: "Speech") -> None:
        """Speak it."""
        ...

    def cancel(self, stream: Stream) -> None:
        """Stop speaking it."""
        ...


@dataclass(frozen=True, slots=True)
class Speech:
    """A clause of so many tokens, and who hears it: the stream, seconds of audio, and whether they are the last."""

    tokens: int
    heard: Callable[[Stream, float, bool], None]


@dataclass(slots=True)
class Heard:
    """What all callers lived through. Seconds."""

    first_audio: list[float] = field(default_factory=list)
    """Of each answer: from asking for it to its first audio."""
    clauses: int = 0
    chunks: int = 0
    ran_dry: int = 0
    """Chunks that came after the caller had played all before them."""
    late_clauses: int = 0
    """Clauses, but for the first of an answer, that began later than after their pause."""
    played: float = 0.0
    """Audio that came, but for what was thrown away when the caller interrupted."""
    lost: float = 0.0


class Calls:
    """The calls of a `traffic`, and the clock's events. Without `begin_all` there are those that `begin` is told of."""

    def __init__(self, traffic: Traffic, voice: Voice) -> None:
        self.heard = Heard()
        self.traffic, self.voice = traffic, voice
        self.random = Random(traffic.seed)  # noqa: S311 # it keeps nothing secret
        self._order = count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    def begin_all(self) -> None:
        """Let all calls begin, one after the other within the time of an answer and the caller's turn."""
        for number in range(self.traffic.calls):
            self.begin(number / self.traffic.calls)

    def begin(self, after: float) -> "Call":
        """Let a call begin, with an answer after that part (0 to 1) of the time of an answer and the caller's turn."""
        call = Call(self)
        self.at(self.voice.now + _ANSWER_SECONDS / self.traffic.talking * after, call.answer)
        return call

    @property
    def next_at(self) -> float:
        """When something happens next, whatever the voice does; infinite if nothing does."""
        return self._events[0][0] if self._events else math.inf

    def at(self, time: float, event: Callable[[], None]) -> None:
        """Let it happen at that time."""
        heapq.heappush(self._events, (time, next(self._order), event))

    def pass_time(self) -> None:
        """Let everything happen that is due."""
        while self._events and self._events[0][0] <= self.voice.now:
            heapq.heappop(self._events)[2]()


class Call:
    """One call: an answer, the caller's turn, an answer, until somebody hangs up."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._stream: Stream | None = None
        self._left: list[int] = []  # tokens of the clauses to come
        self._answers = 0
        self._began = self._plays_until = 0.0
        self._heard_any = self._new_clause = self._over = False

    def hang_up(self) -> None:
        """The caller is gone, and whatever was still to be said with them."""
        self._drop()
        self._over = True

    def answer(self) -> None:
        """The agent begins to talk."""
        if self._over:
            return
        calls, random = self._calls, self._calls.random
        self._answers += 1
        clauses = answer_tokens(random)
        interrupted = random.random() < _INTERRUPTED
        after = random.random() * sum(clauses) / TOKEN_RATE
        self._left = clauses
        self._began = self._plays_until = calls.voice.now
        self._heard_any = False
        self._ask()
        if interrupted:
            number = self._answers
            calls.at(calls.voice.now + 0.3 + after, lambda: self._interrupt(number))

    def _ask(self) -> None:
        """Ask for the next clause."""
        calls = self._calls
        last = self._stream
        if last and calls.traffic.early:
            self._stream = last.after(_TOKEN_CAP, _PAUSE_SECONDS)
        else:
            self._stream = Stream.new(calls.voice.now, _TOKEN_CAP, plan=calls.traffic.plan)
        self._new_clause = True
        calls.heard.clauses += 1
        calls.voice.submit(self._stream, Speech(self._left.pop(0), self._hear))

    def _hear(self, stream: Stream, seconds: float, last: bool) -> None:
        calls, now = self._calls, self._calls.voice.now
        if seconds:
            self._play(seconds, now)
        if not last:
            return
        if not self._left:
            self._stream = None
            self._listen(self._plays_until - self._began)
        elif calls.traffic.early:
            self._ask()
        else:
            number = self._answers
            calls.at(self._plays_until - _ASKED_AHEAD_SECONDS, lambda: self._go_on(number))

    def _play(self, seconds: float, now: float) -> None:
        heard = self._calls.heard
        heard.chunks += 1
        heard.played += seconds
        if not self._heard_any:
            heard.first_audio.append(now - self._began)
            self._heard_any = True
            self._plays_until = now
        else:
            due = self._plays_until + (_PAUSE_SECONDS if self._new_clause else 0.0)
            heard.ran_dry += now > due
            heard.late_clauses += self._new_clause and now > due
            self._plays_until = max(now, due)
        self._new_clause = False
        self._plays_until += seconds

    def _go_on(self, number: int) -> None:
        if number == self._answers and self._left:
            self._ask()

    def _interrupt(self, number: int) -> None:
        now = self._calls.voice.now
        if self._over or number != self._answers or (now >= self._plays_until and not self._stream):
            return
        talked = self._stream is not None
        self._drop()
        if talked:
            self._listen(now - self._began)

    def _drop(self) -> None:
        """Throw away what is being made, and what was made and not played."""
        calls, now = self._calls, self._calls.voice.now
        if self._stream:
            calls.voice.cancel(self._stream)
        lost = max(0.0, self._plays_until - now)
        calls.heard.lost += lost
        calls.heard.played -= lost
        self._plays_until -= lost
        self._left, self._stream = [], None

    def _listen(self, answered: float) -> None:
        """The caller's turn, so long that the agent's share comes out."""
        calls = self._calls
        share = calls.traffic.talking
        mean = max(answered, 1.0) * (1.0 - share) / share
        calls.at(max(self._plays_until, calls.voice.now) + mean * (0.5 + calls.random.random()), self.answer)
