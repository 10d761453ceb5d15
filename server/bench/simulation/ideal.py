"""How little work could do: all in one batch, and, as that makes callers wait, with first audio as soon as it comes.

The tokens of first audio are drawn one step after the other, at once, whoever else has something to draw then. So the
one is the measure of what batches lose, and the other of what of it another schedule could have saved.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, chain
from random import Random

from server.bench.simulation.costs import DeviceCosts
from server.bench.simulation.device import ROWS
from server.bench.simulation.traffic import Calls, Speech, Traffic, answer_tokens
from server.workers.engines.chatterbox.speech_tokens import TOKEN_RATE
from server.workers.engines.chatterbox.stream import HOPS, Stream

_ANSWERS = 300


def ideal_streams(costs: DeviceCosts, plan: Sequence[int] = HOPS, rows: int = ROWS) -> float:
    """Seconds of audio a second, or agents that talk at once: each step of all rows, each render of all hops.

    Clauses are those of the traffic, their hops those of `plan`. The host is taken to be quick enough.
    """
    row = _row_seconds(costs, plan)
    all_in_a_step = (1.0 - TOKEN_RATE * costs.step) / row
    return min(all_in_a_step, 1.0 / (row + TOKEN_RATE * costs.step / rows))


def least_work(costs: DeviceCosts, traffic: Traffic, first_audio: float, seconds: float) -> float:
    """Device seconds for a second of audio that is heard. No schedule takes fewer which always gives first audio within
    `first_audio` seconds, and the second hop before the first has been played.

    `seconds` of the traffic are looked at. The host is taken to be quick enough. Nobody interrupts before the second
    hop: in the traffic one caller in 500 does.
    """
    voice = _QuickestVoice()
    calls = Calls(replace(traffic, early=True), voice)
    calls.begin_all()
    while calls.next_at < seconds:
        voice.now = calls.next_at
        calls.pass_time()
    windows = [
        window
        for asked, tokens in voice.answers
        for window in _windows(costs, asked, tokens, traffic.plan, first_audio)
    ]
    steps = fewest_steps(windows, costs.step_seconds(1))
    return _row_seconds(costs, traffic.plan) + steps * costs.step / calls.heard.played


@dataclass(frozen=True, slots=True)
class Window:
    """From `begin` to `end`, in seconds, so many `steps` have to be taken."""

    begin: float
    end: float
    steps: int


def fewest_steps(windows: Collection[Window], step: float) -> int:
    """The fewest steps, of so many seconds, one after the other, of which each window has as many as it takes.

    Each is as late as it may be in the window that ends first, so that it is in as many others as possible. A window
    with room for fewer gets as many as there is room for.
    """
    taken: set[int] = set()  # of the times 0, step, 2 * step, …
    for window in sorted(windows, key=lambda window: window.end):
        times = range(int(window.begin / step), int(window.end / step))
        free = [time for time in reversed(times) if time not in taken]
        missing = window.steps - (len(times) - len(free))
        taken.update(free[: max(0, missing)])
    return len(taken)


def _windows(
    costs: DeviceCosts, asked: float, tokens: int, plan: Sequence[int], first_audio: float
) -> Sequence[Window]:
    """Where the steps of the first two hops have to be, of a clause of so many tokens that somebody waits for."""
    (first, heard), (second, _) = costs.clause_hops(tokens, plan)[:2]
    latest = asked + first_audio
    ends = latest - first, latest + heard - second
    steps = (min(drawn, tokens - 1) for drawn in accumulate(plan[:2]))  # joining has drawn one, of one more
    return [Window(asked + costs.join, end, count) for end, count in zip(ends, steps, strict=True)]


def _row_seconds(costs: DeviceCosts, plan: Sequence[int]) -> float:
    """What a second of audio takes in batches however large, but for the steps' fixed part."""
    random = Random(0)  # noqa: S311 # it keeps nothing secret
    clauses = list(chain.from_iterable(answer_tokens(random) for _ in range(_ANSWERS)))
    hops = [hop for tokens in clauses for hop in costs.clause_hops(tokens, plan)]
    audio = sum(seconds for _, seconds in hops)
    rendering = sum(seconds for seconds, _ in hops) / audio
    joining = costs.join * len(clauses) / audio
    return TOKEN_RATE * costs.step_row + rendering + joining


@dataclass(slots=True)
class _QuickestVoice:
    """Says everything in no time, and keeps when answers were asked for and the tokens of their first clauses."""

    now: float = 0.0
    answers: list[tuple[float, int]] = field(default_factory=list)

    def submit(self, stream: Stream, speech: Speech) -> None:
        """See `traffic.Voice`."""
        if not stream.started:
            self.answers.append((self.now, speech.tokens))
        speech.heard(stream, speech.tokens / TOKEN_RATE, True)

    def cancel(self, stream: Stream) -> None:
        """See `traffic.Voice`. Nothing is under way."""
