"""What a device would do if all work came in one batch: the ceiling of any schedule, which no schedule reaches.

A caller who waits for first audio can't wait for company. So this is no goal, but the measure of what batches lose.
"""

from collections.abc import Sequence
from itertools import chain
from random import Random

from server.bench.simulation.costs import DeviceCosts
from server.bench.simulation.device import ROWS
from server.bench.simulation.traffic import answer_tokens
from server.workers.engines.chatterbox.speech_tokens import TOKEN_RATE
from server.workers.engines.chatterbox.stream import HOPS

_ANSWERS = 300


def ideal_streams(costs: DeviceCosts, plan: Sequence[int] = HOPS, rows: int = ROWS) -> float:
    """Seconds of audio a second, or agents that talk at once: each step of all rows, each render of all hops.

    Clauses are those of the traffic, their hops those of `plan`. The host is taken to be quick enough.
    """
    random = Random(0)  # noqa: S311 # it keeps nothing secret
    clauses = list(chain.from_iterable(answer_tokens(random) for _ in range(_ANSWERS)))
    hops = [hop for tokens in clauses for hop in costs.clause_hops(tokens, plan)]
    audio = sum(seconds for _, seconds in hops)
    rendering = sum(seconds for seconds, _ in hops) / audio
    joining = costs.join * len(clauses) / audio
    row = TOKEN_RATE * costs.step_row + rendering + joining
    all_in_a_step = (1.0 - TOKEN_RATE * costs.step) / row
    return min(all_in_a_step, 1.0 / (row + TOKEN_RATE * costs.step / rows))
