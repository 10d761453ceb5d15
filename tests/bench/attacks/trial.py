"""One attack on one node: a fresh node of a checkout, a caller who is being answered, the attacker beside it."""

import asyncio
import json
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from server.access.auth import mint_token
from server.client.caller import Speech
from server.client.local_node import LocalNode, running_node
from tests.bench.attacks.attackers import RECOGNISED, RECOGNISED_SECONDS
from tests.bench.attacks.victim import Victim

_KEYS = {"victim": "victim.0123456789abcdef", "attacker": "attacker.0123456789abcdef"}
_SECRET = "the secret of a node that lives for one attack"
_START_SECONDS = 20.0
_LAST_TURN_SECONDS = 15.0
_MOST_BYTES = 3 << 30
_ATTACKER_SECONDS = RECOGNISED_SECONDS + 15.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attack did. Times in seconds, `memory` is how many MiB the gateway grew by at most.

    `lost` says how the caller's call ended, empty if it went on; `refused` counts honest new callers who were; `told`
    what the attacker was answered, by kind.
    """

    gap: float
    underruns: int
    reply: float
    answered: int
    lost: str
    refused: int
    memory: float
    told: Mapping[str, int]
    lived: bool


def memory(pid: int, field: str) -> float:
    """MiB, from `/proc/PID/status`: VmRSS is now, VmHWM the most since `forget_peak`; 0 of a process that is dying."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(field)), 0.0)


def forget_peak(pid: int) -> None:
    """VmHWM counts from now on."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def bound_memory(pid: int) -> None:
    """No attack takes the machine with it: a node that wants more than some GiB gets no more, and fails alone."""
    resource.prlimit(pid, resource.RLIMIT_DATA, (_MOST_BYTES, _MOST_BYTES))


@contextmanager
def attacked_node(attack: str, checkout: Path | None, speech: Mapping[str, str], llm: str) -> Iterator[LocalNode]:
    """A node of `checkout` (None: of this one) that knows the keys of both; `speech` are the stand-ins' addresses."""
    stand_ins = {name: address for name, address in speech.items() if attack not in RECOGNISED or "STT" not in name}
    variables = {
        **stand_ins,
        "VOICE_LLM": f"openai:standin@{llm}",
        "VOICE_API_KEYS": ",".join(_KEYS.values()),
        "VOICE_TOKEN_SECRET": _SECRET,
    }
    with running_node(variables, checkout=checkout) as node:
        bound_memory(node.process.pid)
        yield node


async def trial(attack: str, node: LocalNode, question: Speech) -> Outcome:
    """Attack `node` while a caller who asks `question` is being answered."""
    victim = Victim(node.websocket, _KEYS["victim"], question)
    calling = asyncio.create_task(victim.run())
    pid = node.process.pid
    with suppress(TimeoutError):  # a node that answers nobody shows in the outcome
        async with asyncio.timeout(_START_SECONDS):
            await victim.speaking.wait()
    forget_peak(pid)
    before = memory(pid, "VmRSS")
    told = await _attack(attack, node.websocket)
    victim.stop()
    await asyncio.wait([calling], timeout=_LAST_TURN_SECONDS)
    peak = memory(pid, "VmHWM") if node.process.poll() is None else 0.0
    if not calling.done():
        victim.lost = f"not answered {_LAST_TURN_SECONDS:g} s after the attack"
        calling.cancel()
    return Outcome(
        victim.gap.longest,
        victim.underruns,
        victim.reply.longest,
        victim.answered,
        victim.lost,
        victim.refused,
        peak - before if peak else 0.0,
        told,
        lived=peak > 0,
    )


async def _attack(attack: str, url: str) -> dict[str, int]:
    """Run the attacker in a process of its own; gives what it was told."""
    token = mint_token(_SECRET, "attacker", 60.0, time.time())
    arguments = ("--url", url, "--key", _KEYS["attacker"], "--token", token)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.attacks.attackers", attack, *arguments, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(_ATTACKER_SECONDS):
            printed, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
    if process.returncode:
        return {"the attacker itself failed": 1}
    return dict(json.loads(printed))
