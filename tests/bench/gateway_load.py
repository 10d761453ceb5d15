"""How many calls one core's gateway carries: `python -m tests.bench.gateway_load --calls 100 --seconds 60`.

The gateway has a core of its own. On the other one run the callers and stand-ins for the speech workers and the
language model, which compute nothing; so what is measured is the gateway: with its voice activity detection, and with
`--turn-detection semantic_vad` also smart-turn, early words and speculation.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
from rich.console import Console

from server.bench.load import Clip, Load
from server.cli.bench import clips_from, measure
from server.cli.bench_node import Target
from server.cli.bench_tables import show_report
from server.client.local_node import LocalNode, running_node

_ANSWER = (
    "We are open every day from nine in the morning to six in the evening, and on Thursdays we stay open until eight. "
    "Is there anything else that I can do for you?"
)


@contextmanager
def _process(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A module of ours in a process of its own, on this process's core, until the block ends."""
    process = subprocess.Popen([sys.executable, "-m", *arguments], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _core(number: int) -> None:
    """Processes started from here on run on that core, as does this one."""
    os.sched_setaffinity(0, {number})


def _memory(pid: int, field: str) -> float:
    """MiB, from `/proc/PID/status`."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


@contextmanager
def lone_gateway(calls: int, gateway_core: int, other_core: int) -> Iterator[LocalNode]:
    """A node with room for so many calls and a core of its own; the stand-ins and this process are on the other one."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        socket = folder / "speech.sock"
        _core(other_core)
        stack.enter_context(_process("tests.support.speech_workers", "--socket", str(socket), "--transcript", _ANSWER))
        model = stack.enter_context(_process("tests.support.openai_llm_standin", "--first-token-seconds", "0.2"))
        assert model.stdout
        variables = {
            "VOICE_STT_ADDRESS": f"unix:{socket}",
            "VOICE_TTS_ADDRESS": f"unix:{socket}",
            "VOICE_LLM": f"openai:standin@{model.stdout.readline().strip()}",
            "VOICE_MAX_SESSIONS": str(calls),
        }
        _core(gateway_core)
        node = stack.enter_context(running_node(variables))
        _core(other_core)
        yield node


def run(
    calls: int,
    seconds: float,
    wavs: Sequence[Path],
    turn_detection: str,
    gateway_core: int,
    other_core: int,
    save: Path | None,
) -> None:
    """Measure, and print what was measured."""
    console = Console()
    with lone_gateway(calls, gateway_core, other_core) as node:
        pid = node.process.pid
        idle = _memory(pid, "VmRSS")
        load = Load(calls, turns=int(seconds), seconds=seconds)
        clips = [Clip(clip.speech) for clip in clips_from(wavs)]  # nobody listens to the words
        called = Target(node.websocket, metrics=f"{node.http}/metrics")
        figures = measure(called, clips, load, console, {"type": turn_detection})
        peak = _memory(pid, "VmHWM")
    show_report(console, figures)
    console.print(
        f"memory of the gateway: idle {idle:.0f} MiB, at most {peak:.0f} MiB, {(peak - idle) / calls:.2f} a call"
    )
    if save:
        save.write_bytes(msgspec.json.format(msgspec.json.encode(figures)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60.0, help="no turn begins after so long")
    parser.add_argument("--wav", type=Path, action="append", default=[], help="what to say; may be repeated")
    parser.add_argument("--turn-detection", choices=("server_vad", "semantic_vad"), default="server_vad")
    parser.add_argument("--gateway-core", type=int, default=0)
    parser.add_argument("--other-core", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()
    run(
        options.calls,
        options.seconds,
        options.wav,
        options.turn_detection,
        options.gateway_core,
        options.other_core,
        options.json,
    )


if __name__ == "__main__":
    main()
