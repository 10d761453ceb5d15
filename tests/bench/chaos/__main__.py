"""Hold spoken calls on a small fleet while its parts are killed, one after the other, and tell what the callers heard.

Everything is real but the language models and the balancer, which are the tests' own: nodes with their workers, speech,
sockets. Once round all faults takes four to five minutes. A call is lost where its caller has to call anew, or hears
nothing after a turn. In its history, as the language model is shown it, every question and every answer has to be there
once and whole; and no answer may be longer to hear than the same words are on other calls.

It exits with 1 if a call was lost, or a history was not what was heard.
"""

import argparse
import asyncio
import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from server.client.caller import Speech, samples_from
from tests.bench.chaos.callers import Lived, Talker, said_twice
from tests.bench.chaos.faults import FAULTS
from tests.bench.chaos.fleet import Fleet
from tests.bench.markdown import table

_QUESTION = Path(__file__).parents[3] / "server" / "demo" / "question.wav"
_GOES_ON_SECONDS = 60.0


@dataclass(frozen=True)
class Row:
    """What a fault did to the calls that were held."""

    fault: str
    held: int
    turns: int
    lines: int
    moved: int
    resumed: int
    lost: list[str]
    silence: float


async def run(calls: int, nodes: int, minutes: float, faults: Sequence[str]) -> tuple[list[Row], list[str]]:
    """A row for each fault, round by round until so many minutes are over; and what was wrong with the histories.

    Each fault is there once at least.
    """
    speech, until = Speech(samples_from(_QUESTION)), time.monotonic() + 60 * minutes
    rows: list[Row] = []
    wrong: list[str] = []
    # Each node could take all calls: one is full only where that is the fault.
    async with Fleet(nodes, places=calls) as fleet, asyncio.TaskGroup() as tasks:
        talkers = [Talker(fleet.url, f"caller {number}", speech) for number in range(1, calls + 1)]
        talking = [tasks.create_task(talker.talk()) for talker in talkers]
        await _all_go_on(talkers)
        for number, fault in enumerate(itertools.cycle(faults)):
            if number >= len(faults) and time.monotonic() >= until:
                break
            print(f"{time.strftime('%H:%M:%S')} {fault}: {FAULTS[fault].__doc__}", file=sys.stderr, flush=True)
            for talker in talkers:
                talker.lived = Lived()
            await FAULTS[fault](fleet)
            await _all_go_on(talkers)
            rows.append(_row(fault, talkers))
            asked = {talker.name: talker.asked for talker in talkers}
            lost = {(talker.name, number) for talker in talkers for number in talker.cut}
            wrong = [*fleet.story.faults, *fleet.story.wrong(asked, lost), *said_twice(talkers)]
            print(rows[-1], *wrong, sep="\n", file=sys.stderr, flush=True)
        for talk in talking:
            talk.cancel()
    return rows, wrong


async def _all_go_on(talkers: list[Talker]) -> None:
    """Until each caller has had two more answers: one may have been under way. Who gets none is lost."""
    wanted = {talker: talker.lived.turns + 2 for talker in talkers}
    until = time.monotonic() + _GOES_ON_SECONDS
    while waiting := [talker for talker, turns in wanted.items() if talker.lived.turns < turns]:
        if time.monotonic() > until:
            for talker in waiting:
                talker.lived.lost.append(f"not two answers in {_GOES_ON_SECONDS:.0f} s")
            return
        await asyncio.sleep(0.1)


def _row(fault: str, talkers: list[Talker]) -> Row:
    lived = [talker.lived for talker in talkers]
    moved = sum(each.moves for each in lived)
    return Row(
        fault.replace("_", " "),
        len(talkers),
        sum(each.turns for each in lived),
        sum(each.lines for each in lived),
        moved,
        max(0, sum(each.connections for each in lived) - moved),
        [loss for each in lived for loss in each.lost],
        max(talker.silence() for talker in talkers),
    )


def report(rows: list[Row], faults: list[str]) -> str:
    """A table with a line for each kind of fault, and below it what went wrong."""
    columns = ("fault", "times", "calls", "answers", "of them a line", "moved", "resumed", "lost", "longest silence")
    by_fault = {kind: [row for row in rows if row.fault == kind] for kind in dict.fromkeys(row.fault for row in rows)}
    cells = [
        (
            kind,
            len(same),
            same[0].held,
            sum(row.turns for row in same),
            sum(row.lines for row in same),
            sum(row.moved for row in same),
            sum(row.resumed for row in same),
            sum(len(row.lost) for row in same),
            f"{max(row.silence for row in same):.1f} s",
        )
        for kind, same in by_fault.items()
    ]
    wrong = [loss for row in rows for loss in row.lost] + faults
    return table(columns, cells) + "".join(f"{each}\n" for each in wrong)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="go round for so many, once at least (default 10)")
    parser.add_argument("--calls", type=int, default=10, help="calls at once (default 10)")
    parser.add_argument("--nodes", type=int, default=3, help="nodes of the fleet (default 3)")
    parser.add_argument("--fault", action="append", choices=FAULTS, help="only this one; may be repeated")
    options = parser.parse_args()
    rows, faults = asyncio.run(run(options.calls, options.nodes, options.minutes, options.fault or list(FAULTS)))
    print(report(rows, faults), end="")
    sys.exit(1 if faults or any(row.lost for row in rows) else 0)


if __name__ == "__main__":
    main()
