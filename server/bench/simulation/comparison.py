"""How many calls a device holds, how many it admits, how near it comes to the ideal: before and now, by its parts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from server.bench.devices import Gpu
from server.bench.simulation import before
from server.bench.simulation.admission import Admitted, admitted
from server.bench.simulation.costs import PARTS, DeviceCosts, Form, reckoned
from server.bench.simulation.device import ROWS
from server.bench.simulation.ideal import ideal_streams, least_work
from server.bench.simulation.simulation import Figures, simulated
from server.bench.simulation.traffic import Traffic

_CLOSE = 1.05  # between a number of calls that holds and one that does not: closer than that is noise
_ADMITTED_SECONDS = 300.0

BEFORE = "before"

Run = Callable[[Traffic], Figures]


@dataclass(frozen=True, slots=True)
class Variant:
    """A device with a form of the flow: its costs as it is, and by the parts that may become quicker."""

    name: str
    parts: Mapping[str, DeviceCosts]
    """The first one is also run with the schedule as it was."""


@dataclass(frozen=True, slots=True)
class Line:
    """The largest load that holds."""

    device: str
    schedule: str
    parts: str
    figures: Figures
    ideal: float
    """Agents that could talk at once if all work came in one batch."""
    least_work: float
    """Device seconds for a second of audio, by `ideal.least_work`, of schedules whose first audio comes as soon."""
    promised: int
    """Agents that may talk at once, by the calibration and the arithmetic of that schedule."""
    calls_held_before: int
    """By the schedule as it was, with today's parts."""
    admission: Admitted | None
    """What a node does when more callers dial; of the schedule as it was nothing is known."""

    @property
    def of_ideal(self) -> float:
        """Seconds of audio that are heard in a second, of those of the ideal."""
        return self.figures.streams / self.ideal

    @property
    def work_of_ideal(self) -> float:
        """The same of a second in which the device works: what batches lose, without what is kept free for bursts."""
        return 1e3 / self.figures.device_ms_per_audio_second / self.ideal

    @property
    def least_of_work(self) -> float:
        """Of the work that is done for a second of audio, what any such schedule would have done."""
        return self.least_work / self.figures.work


def reckoned_variant(gpu: Gpu, form: Form) -> Variant:
    """One of the devices that were reckoned."""
    return Variant(f"{gpu} {form}", {parts: reckoned(gpu, form, parts) for parts in PARTS})


def compared(
    variants: Sequence[Variant], traffic: Traffic, seconds: float, doing: Callable[[str], None]
) -> Iterator[Line]:
    """A line before and a line for each of the parts of each variant, which `doing` is told. `traffic.calls` are tried
    first."""
    for variant in variants:
        doing(variant.name)
        runs = schedules(variant, seconds)
        today, costs_today = next(iter(variant.parts.items()))
        old = most_calls(runs[BEFORE], traffic)
        promised = before.admitted(costs_today.calibrated(), ROWS)
        ideal = ideal_streams(costs_today, traffic.plan)
        least = _least_work(costs_today, replace(traffic, plan=before.HOPS), old, seconds)
        yield Line(variant.name, BEFORE, today, old, ideal, least, promised, old.calls, None)
        for parts, costs in variant.parts.items():
            new = most_calls(runs[parts], replace(traffic, calls=old.calls))
            node = admitted(costs, traffic, new.calls, _ADMITTED_SECONDS)
            ideal = ideal_streams(costs, traffic.plan)
            least = _least_work(costs, traffic, new, seconds)
            yield Line(variant.name, "now", parts, new, ideal, least, new.admitted, old.calls, node)


def _least_work(costs: DeviceCosts, traffic: Traffic, figures: Figures, seconds: float) -> float:
    """With first audio always as soon as 95 % of it came."""
    return least_work(costs, replace(traffic, calls=figures.calls), figures.first_audio_p95_ms / 1e3, seconds)


def schedules(variant: Variant, seconds: float) -> Mapping[str, Run]:
    """What can be run of it: `BEFORE` is the schedule as it was with today's parts, all else the one that is."""
    today = next(iter(variant.parts.values()))

    def as_it_was(traffic: Traffic) -> Figures:
        return simulated(today, replace(traffic, plan=before.HOPS), seconds, before.next_work)

    def as_it_is(costs: DeviceCosts, traffic: Traffic) -> Figures:
        return simulated(costs, traffic, seconds)

    return {BEFORE: as_it_was} | {parts: partial(as_it_is, costs) for parts, costs in variant.parts.items()}


def most_calls(run: Run, traffic: Traffic) -> Figures:
    """The figures of the largest load that holds, within 5 %; those of one call if not even that does."""
    calls, failed = traffic.calls, 0
    held: Figures | None = None
    while True:
        figures = run(replace(traffic, calls=calls))
        if figures.holds:
            held = figures
        else:
            failed = calls
        floor = held.calls if held else 0
        if failed and failed <= max(floor + 1, _CLOSE * floor):
            return held or figures
        calls = (floor + failed) // 2 if failed else floor * 3 // 2 + 1
