"""Thousands of calls that end in every state: `python -m tests.bench.soak --minutes 15`.

Eight callers at once, over and over, on a node whose speech and language model are stand-ins. After every round, when
no call is left, it prints what the gateway holds. Exit status 1: a call went wrong, or the gateway holds more and more.
"""

import argparse
import asyncio
import sys
import time

from tests.bench.soak.soak import Soak, play, soaked_node
from tests.support.node import NodeProcess

_SCENES_PER_ROUND = 20
"""How often each scene is played between two looks. The first round fills caches and pools."""


async def run(node: NodeProcess, seconds: float) -> Soak:
    """Play rounds until so much time has passed; prints a row for each."""
    soak, started = Soak(), time.monotonic()
    while (now := time.monotonic()) < started + seconds or len(soak.held) < 2:
        await play(node, _SCENES_PER_ROUND, soak)
        held = soak.held[-1]
        print(
            f"{now - started:6.0f} s  {soak.scenes.total():6} scenes  {held.memory:6.1f} MiB  {held.files:4} files  "
            f"{held.threads:4} threads  {held.tasks:4} tasks",
            flush=True,
        )
    return soak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15.0)
    options = parser.parse_args()
    with soaked_node() as node:
        soak = asyncio.run(run(node, 60.0 * options.minutes))
        calls = node.metric("voice_sessions_total")
    print(f"{calls:.0f} calls in {soak.scenes.total()} scenes")
    for fault in soak.faults:
        print(fault)
    sys.exit(1 if soak.faults else 0)


if __name__ == "__main__":
    main()
