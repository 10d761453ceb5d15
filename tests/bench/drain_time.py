"""How long a full node takes to drain, by the share of its callers that can resume: `python -m tests.bench.drain_time`.

Reckoned. Calls last 210 s on average, log-normal with a sigma of 1, two hours at most, and are caught at a random
moment; a drain lasts until the last call has ended that can't move. Those that can have gone by the end of a turn.
"""

import math
from statistics import NormalDist

CALLS, MEAN_SECONDS, SIGMA = 32, 210.0, 1.0
LONGEST_SECONDS = 7200.0  # VOICE_MAX_CALL_SECONDS
SHARES = (0.0, 0.5, 0.75, 0.9, 1.0)
_NORMAL = NormalDist()


def has_ended(seconds: float) -> float:
    """The probability that a call, caught at a random moment, has ended so long after it."""
    return _mean_up_to(min(seconds, LONGEST_SECONDS)) / _mean_up_to(LONGEST_SECONDS)


def _mean_up_to(seconds: float) -> float:
    """The mean length of calls, each counted for so many seconds at most."""
    z = (math.log(seconds / MEAN_SECONDS) + SIGMA**2 / 2) / SIGMA
    return MEAN_SECONDS * _NORMAL.cdf(z - SIGMA) + seconds * (1 - _NORMAL.cdf(z))


def drain_seconds(calls: float, quantile: float) -> float:
    """How long it takes until that many calls have ended, in `quantile` of all drains."""
    least, most = 0.0, 1e6
    while most - least > 0.5:
        middle = (least + most) / 2
        least, most = (least, middle) if has_ended(middle) ** calls >= quantile else (middle, most)
    return most


def main() -> None:
    """Print the table of docs/deploy.md."""
    print(f"{CALLS} calls of {MEAN_SECONDS:.0f} s on average\n")
    print("| share that resumes | calls that stay | half of all drains | 99 of 100 |\n|---|---|---|---|")
    for share in SHARES:
        stay = round(CALLS * (1 - share))
        times = [f"{drain_seconds(stay, quantile) / 60:.0f} min" if stay else "one turn" for quantile in (0.5, 0.99)]
        print(f"| {share:.0%} | {stay} | {times[0]} | {times[1]} |")


if __name__ == "__main__":
    main()
