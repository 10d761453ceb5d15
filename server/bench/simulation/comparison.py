"""How many calls a device holds: by the schedule as it was and as it is, today's parts and captured ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

from server.bench.devices import Gpu
from server.bench.simulation import before
from server.bench.simulation.costs import PARTS, DeviceCosts, Form, reckoned
from server.bench.simulation.simulation import ROWS, Figures, simulated
from server.bench.simulation.traffic import Traffic

_CLOSE = 1.05  # between a number of calls that holds and one that does not: closer than that is noise


@dataclass(frozen=True, slots=True)
class Line:
    """The largest load that holds."""

    gpu: str
    flow: str
    schedule: str
    parts: str
    figures: Figures
    admitted: int
    """Agents that may talk at once, by the calibration and the arithmetic of that schedule."""
    calls_held_before: int
    """By the schedule as it was, with today's parts."""


def compared(
    gpus: Sequence[Gpu], forms: Sequence[Form], traffic: Traffic, seconds: float, doing: Callable[[str], None]
) -> list[Line]:
    """Each of these devices with each of these forms; `doing` is told which. `traffic.calls` are tried first."""
    lines: list[Line] = []
    for gpu, form in product(gpus, forms):
        doing(f"{gpu}, {form} flow")
        eager = reckoned(gpu, form, "eager")
        old = most_calls(partial(_as_it_was, eager, seconds), traffic)
        lines.append(Line(gpu, form, "before", "eager", old, before.admitted(eager.calibrated(), ROWS), old.calls))
        for parts in PARTS:
            new = most_calls(partial(_as_it_is, reckoned(gpu, form, parts), seconds), replace(traffic, calls=old.calls))
            lines.append(Line(gpu, form, "now", parts, new, new.admitted, old.calls))
    return lines


def most_calls(run: Callable[[Traffic], Figures], traffic: Traffic) -> Figures:
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


def _as_it_was(costs: DeviceCosts, seconds: float, traffic: Traffic) -> Figures:
    return simulated(costs, replace(traffic, plan=before.HOPS), seconds, before.next_work)


def _as_it_is(costs: DeviceCosts, seconds: float, traffic: Traffic) -> Figures:
    return simulated(costs, traffic, seconds)
