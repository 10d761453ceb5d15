"""What a caller can do to the others: `python -m tests.bench.attacks [--before CHECKOUT] [--only NAME]`.

Each attack has a fresh node, with a caller who is being answered. With `--before`, a checkout of an older commit that
has an environment of its own in `.venv` (`git worktree add PATH COMMIT`, then `make -C PATH .venv/.base`), each attack
is tried on a node of that first, so that both stand in one table. The speech and the language model are stand-ins,
but where recognition is what is attacked. Some five minutes a side.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from server.client.caller import Speech, speech_from
from tests.bench.attacks.attackers import ATTACKS
from tests.bench.attacks.hostile_model import hostile_model
from tests.bench.attacks.trial import Outcome, attacked_node, trial
from tests.support.clips import BUNDLED
from tests.support.in_thread import in_thread
from tests.support.node import quick_speech
from tests.support.openai_llm_standin import OpenAiStandin

_FIGURES = ("gap s", "dry", "reply s", "turns", "refused", "MiB")
_CAPTION = (
    "gap: the longest between two pieces of the caller's answer; dry: how often it ran out in the middle; reply: the "
    "slowest to a small event; turns: answered; refused: honest new callers; MiB: by which the gateway grew at most"
)
_WIDTH = 150  # where there is no terminal


@dataclass(frozen=True, slots=True)
class Row:
    """An attack and what came of it, before (where that was asked for) and after."""

    attack: str
    sends: str
    outcomes: Sequence[Outcome]


def run(attacks: Sequence[str], checkouts: Sequence[Path | None], console: Console) -> list[Row]:
    """Try each attack on a node of each checkout in turn; None is this checkout."""
    question = speech_from(BUNDLED / "pls-hold-while-try.wav")
    rows = []
    with quick_speech() as speech, in_thread(OpenAiStandin(answer=hostile_model(), first_token_seconds=0.1)) as model:
        for attack in attacks:
            with console.status(attack):
                outcomes = [_outcome(attack, checkout, speech, model.url, question) for checkout in checkouts]
            rows.append(Row(attack, (ATTACKS[attack].__doc__ or "").partition("\n")[0], outcomes))
            console.print(f"{len(rows)} of {len(attacks)}: {attack}", highlight=False)
    return rows


def _outcome(attack: str, checkout: Path | None, speech: dict[str, str], llm: str, question: Speech) -> Outcome:
    with attacked_node(attack, checkout, speech, llm) as node:
        return asyncio.run(trial(attack, node, question))


def table(rows: Sequence[Row], sides: Sequence[str]) -> Table:
    """A section for each attack, with a line for each side."""
    shown = Table("attack", "", *_FIGURES, "the attacker was told", "the caller was", "node", caption=_CAPTION)
    for column in shown.columns[2:-3]:
        column.justify = "right"
    for row in rows:
        for side, outcome in zip(sides, row.outcomes, strict=True):
            shown.add_row(row.attack if side == sides[0] else "", side, *_cells(outcome))
        shown.add_section()
    return shown


def _cells(outcome: Outcome) -> Sequence[str]:
    told = ", ".join(f"{count} {what}" for what, count in sorted(outcome.told.items()))
    return (
        f"{outcome.gap:.2f}",
        str(outcome.underruns),
        f"{outcome.reply:.2f}",
        str(outcome.answered),
        str(outcome.refused),
        f"{outcome.memory:.0f}",
        told or "-",
        f"[red]{outcome.lost}[/]" if outcome.lost else "served",
        "lived" if outcome.lived else "[red]dead[/]",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="checkout of an older commit, to try each attack on that first")
    parser.add_argument("--only", action="append", choices=ATTACKS, help="this attack alone; may be repeated")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()
    checkouts = {"before": options.before.resolve(), "after": None} if options.before else {"now": None}
    console = Console() if sys.stdout.isatty() else Console(width=_WIDTH)
    rows = run(options.only or list(ATTACKS), list(checkouts.values()), console)
    console.print(table(rows, list(checkouts)))
    for row in rows:
        console.print(f"[bold]{row.attack}[/]: {row.sends}", highlight=False)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(rows)))


if __name__ == "__main__":
    main()
