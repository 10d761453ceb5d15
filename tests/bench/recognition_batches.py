"""What recognition would take of a GPU, and whether waiting pays there: `python -m tests.bench.recognition_batches`.

Reckoned, on any machine: the costs are those of `server.bench.recognition_costs`, the node's own queue decides what
runs together, and time is virtual. First what a batch takes; then so many calls, each with an utterance every 8 s:
guesses at its words while it is spoken, a transcript at its end in a short window, and for a third again in a longer
one.
"""

import argparse
import heapq
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from server.bench.devices import DEVICES, Device
from server.bench.recognition_costs import WHISPER, Whisper, cost, memory
from server.workers.engines.utterance import SHORT_WINDOWS, WINDOWS
from server.workers.fair_queue import Entry, FairQueue
from tests.bench.markdown import table

_SHAPES = ((4, 12), (15, 20), (30, 40))  # seconds of a window, tokens
_BATCHES = (1, 4, 16)
_MAX_BATCH = 16
_CALLS = (64, 128)
_UTTERANCE_EVERY_SECONDS = 8.0
_GUESSES = 4  # at most, of an utterance (`server.conversation`)
_SECONDS_A_GUESS = 0.7
_UNSURE = 1 / 3
_MARGIN_SECONDS = 0.4
_TOKENS_A_SECOND, _TOKENS_AT_LEAST = 3.5, 3
_LIMIT = 10_000  # the node's own would refuse, and nobody would be seen to wait


@dataclass(frozen=True, slots=True)
class Policy:
    """Of a batcher: seconds that the first waits for company, the short windows, batches at once, and whether others
    compute the features."""

    name: str
    wait: float = 0.0
    windows: Sequence[int] = SHORT_WINDOWS
    parallel: int = 1
    features_ahead: bool = False
    max_batch: int = _MAX_BATCH


POLICIES = (
    Policy("one batch at a time"),
    Policy("no batches", max_batch=1),
    Policy("a wait of 5 ms", wait=0.005),
    Policy("a wait of 20 ms", wait=0.02),
    Policy("windows of 4, 8, 12 s", windows=(4, 8, 12)),
    Policy("features ahead", features_ahead=True),
    Policy("two at once, as it is", parallel=2),
    Policy("features ahead, 4, 8, 12 s", windows=(4, 8, 12), features_ahead=True),
    Policy("two at once, 4, 8, 12 s", windows=(4, 8, 12), parallel=2),
)


@dataclass(frozen=True, slots=True)
class Job:
    """So many `seconds` of a call's speech; `final`: its transcript, which somebody waits for; `again`: in a longer
    window, since it was `unsure`."""

    at: float
    call: int
    seconds: float
    final: bool
    unsure: bool = False
    again: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """Shares of the time that the device and the recogniser's threads are busy; windows in a batch; and the seconds
    that transcripts take from the end of an utterance."""

    device: float
    threads: float
    batch: float
    p50: float
    p95: float


def traffic(calls: int, seconds: float, seed: int = 0) -> Iterator[Job]:
    """What so many calls say, in no order."""
    random = np.random.default_rng(seed)
    for end in np.cumsum(
        random.exponential(_UTTERANCE_EVERY_SECONDS / calls, round(calls * seconds / _UTTERANCE_EVERY_SECONDS))
    ):
        call, spoken = int(random.integers(calls)), float(np.clip(random.lognormal(0.9, 0.5), 0.5, 11.0))
        for number in range(1, min(_GUESSES, int(spoken / _SECONDS_A_GUESS)) + 1):
            yield Job(end - spoken + number * _SECONDS_A_GUESS, call, number * _SECONDS_A_GUESS, final=False)
        yield Job(end, call, spoken, final=True, unsure=bool(random.random() < _UNSURE))


def simulated(policy: Policy, model: Whisper, device: Device, calls: int, seconds: float = 120.0) -> Outcome:
    """So many calls, for so many seconds, on a device that does nothing else."""
    queue: FairQueue[Job] = FairQueue(_LIMIT, policy.max_batch, float(WINDOWS[0]))
    order = itertools.count()
    coming = [(job.at, next(order), job) for job in traffic(calls, seconds)]
    heapq.heapify(coming)
    came: dict[Job, float] = {}  # of those that wait, the oldest first
    free = [0.0] * policy.parallel  # when each thread will be
    now = device_free = device_seconds = thread_seconds = 0.0
    sizes: list[int] = []
    waited: list[float] = []
    while coming or came:
        now = max(now, heapq.heappop(free))
        begin = next(iter(came.values()), coming[0][0] if coming else 0.0) + policy.wait
        while coming and (coming[0][0] <= now or (coming[0][0] <= begin and len(came) < policy.max_batch)):
            at, _, job = heapq.heappop(coming)
            now = max(now, at)
            window = _window(job, policy.windows)
            queue.add(Entry(job, window, job.call, window + job.seconds))
            came[job] = at
        if len(came) < policy.max_batch:
            now = max(now, begin)
        batch = [entry.job for entry in queue.next_batch()]
        for job in batch:
            del came[job]
        window = _window(batch[0], policy.windows)
        tokens = _TOKENS_AT_LEAST + round(_TOKENS_A_SECOND * max(job.seconds for job in batch))
        taken = cost(model, device, len(batch), window, tokens)
        launched = now if policy.features_ahead else now + taken.features
        device_free = max(device_free, launched) + taken.device
        end = max(launched + taken.seconds, device_free)
        heapq.heappush(free, end)
        device_seconds += taken.device
        thread_seconds += end - now
        sizes.append(len(batch))
        for job in batch:
            if job.unsure and not job.again:
                longer = Job(job.at, job.call, job.seconds, final=True, again=True)
                heapq.heappush(coming, (end, next(order), longer))
            elif job.final:
                waited.append(end - job.at + (taken.features / len(batch) if policy.features_ahead else 0.0))
    p50, p95 = np.percentile(waited, (50, 95))
    return Outcome(
        device_seconds / now, thread_seconds / now / policy.parallel, float(np.mean(sizes)), float(p50), float(p95)
    )


def _window(job: Job, short: Sequence[int]) -> int:
    sizes = WINDOWS if job.again else (*short, *WINDOWS)
    margin = 0.0 if job.again else _MARGIN_SECONDS
    return next(size for size in sizes if job.seconds + margin <= size)


def _cost_rows() -> Iterator[tuple[object, ...]]:
    for (name, model), (window, tokens) in itertools.product(WHISPER.items(), _SHAPES):
        cells = [
            f"{1e3 * taken.device:.1f}, {1e3 * taken.host:.1f}"
            for device in DEVICES.values()
            for taken in (cost(model, device, batch, window, tokens) for batch in _BATCHES)
        ]
        yield name, window, tokens, *cells, f"{memory(model, _BATCHES[-1], window) / 1e6:.0f}"


def _policy_rows(model: str) -> Iterator[tuple[object, ...]]:
    for (name, device), calls, policy in itertools.product(DEVICES.items(), _CALLS, POLICIES):
        outcome = simulated(policy, WHISPER[model], device, calls)
        yield (name, calls, policy.name, f"{outcome.device:.0%}", f"{outcome.threads:.0%}", f"{outcome.batch:.1f}",
               f"{1e3 * outcome.p50:.0f}", f"{1e3 * outcome.p95:.0f}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=WHISPER, default="tiny.en", help="for the calls")
    options = parser.parse_args()
    batches = [f"{device}, batch of {batch}" for device in DEVICES for batch in _BATCHES]
    print("ms of the device and of the host, which go on side by side:\n")
    print(table(("model", "window s", "tokens", *batches, "MB, batch of 16"), _cost_rows()))
    columns = ("", "calls", options.model, "device busy", "threads busy", "batch", "transcript p50 ms", "p95 ms")
    print(table(columns, _policy_rows(options.model)))


if __name__ == "__main__":
    main()
