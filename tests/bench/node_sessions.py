"""How many calls a whole node holds on one device: `python -m tests.bench.node_sessions [--size full|small]`.

The node runs as it is deployed, with a TTS worker of its own (Chatterbox with random weights, which takes all streams),
Whisper tiny.en on the same device, and a stand-in for the language model (0.2 s to the first token, 0.02 s a token).
Callers hold paced conversations, 1, 2, 4 … at once, then between the last number that held and the first that did not.
The callers share the machine's cores; where they were late themselves (> 10 ms p99), their figures are marked.
"""

import argparse
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import uvloop

from server.bench.load import Clip, Load, run_load
from server.bench.load_report import LoadReport, LoadResult, own_times, report
from server.bench.node_usage import sample, usage
from server.bench.percentiles import percentile_ms
from server.cli.bench import clips_from
from server.client.caller import call
from server.client.local_node import LocalNode, running_node
from tests.bench.markdown import table
from tests.bench.processes import python_module
from tests.bench.random_chatterbox import random_chatterbox
from tests.support.clips import BUNDLED
from tests.support.speech import model_folder

MOST_BEYOND_MS = 500.0
"""Voice to voice beyond the silence that ends a turn and the model's first token: what p95 may be."""

_MOST_CALLS = {"full": 512, "small": 2}
_APART = 1.12  # between a number of calls that holds and one that does not: closer than that is noise
_STT_MODEL = "tiny.en"
_LLM_SPEED = ("--first-token-seconds", "0.2", "--token-seconds", "0.02")


@dataclass(frozen=True, slots=True)
class CallsAtOnce:
    """What so many calls at once lived through; `beyond_p95_ms` is None where no turn was answered."""

    calls: int
    beyond_p50_ms: float | None
    beyond_p95_ms: float | None
    load: LoadReport

    @property
    def broke(self) -> str:
        """What was too much, in a few words; empty where all was well."""
        faults = {
            "failed calls": len(self.load.failures),
            "unanswered turns": self.load.unanswered,
            "underruns": self.load.underruns,
        }
        said = [f"{count} {what}" for what, count in faults.items() if count]
        if self.beyond_p95_ms is not None and self.beyond_p95_ms > MOST_BEYOND_MS:
            said.append(f"p95 > {MOST_BEYOND_MS:.0f} ms")
        return ", ".join(said)


@dataclass(frozen=True, slots=True)
class NodeReport:
    """Each number of calls that was tried, and the largest that was to be."""

    levels: Sequence[CallsAtOnce]
    most_calls: int

    @property
    def sessions(self) -> int:
        """The most calls at once that all went well."""
        return max((level.calls for level in self.levels if not level.broke), default=0)


def next_calls(levels: Sequence[CallsAtOnce], most: int) -> Iterator[int]:
    """Twice as many each time while all goes well; then between what went well and what did not."""
    calls = 1
    while True:
        yield calls
        if levels[-1].broke or calls == most:
            break
        calls = min(2 * calls, most)
    while True:
        held = max((level.calls for level in levels if not level.broke), default=0)
        failed = min((level.calls for level in levels if level.broke), default=0)
        if not held or failed <= max(held * _APART, held + 1):
            return
        yield (held + failed) // 2


def _calls_at_once(node: LocalNode, clips: Sequence[Clip], calls: int, seconds: float) -> CallsAtOnce:
    metrics = f"{node.http}/metrics"
    before = sample(metrics)
    load = Load(calls, turns=max(1, int(seconds)), seconds=seconds)
    result = uvloop.run(run_load(partial(call, node.websocket), clips, load))
    spent = usage(before, sample(metrics), result.call_seconds)
    beyond = _beyond(result)
    return CallsAtOnce(
        calls,
        percentile_ms(beyond, 50) if beyond else None,
        percentile_ms(beyond, 95) if beyond else None,
        report(result, spent),
    )


def _beyond(result: LoadResult) -> list[float]:
    """Of each answered turn, the seconds that were neither silence nor the wait for the model's first token."""
    return [
        turn.voice_to_voice - own_times(turn).get("llm_first_token", 0.0) - (result.silence or 0.0)
        for turn in result.turns
        if turn.voice_to_voice is not None
    ]


def run(size: str, device: str, seconds: float) -> NodeReport:
    """Measure, `seconds` for each number of calls. Raises `NotServing`, `NodeNotStarted`."""
    model_folder(_STT_MODEL)
    clips = clips_from([], BUNDLED / "manifest.json")
    most = _MOST_CALLS[size]
    levels: list[CallsAtOnce] = []
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="voice"))
        model = stack.enter_context(
            python_module("tests.support.openai_llm_standin", *_LLM_SPEED, stdout=subprocess.PIPE)
        )
        assert model.stdout
        print("starting the TTS worker", flush=True)
        tts = f"unix:{folder}/tts.sock"
        stack.enter_context(random_chatterbox(tts, size, device, unbounded=True))
        variables = {
            "VOICE_TTS_ADDRESS": tts,
            "VOICE_STT_DEVICE": device,
            "VOICE_STT_MODEL": _STT_MODEL,
            "VOICE_LLM": f"openai:standin@{model.stdout.readline().strip()}",
            "VOICE_MAX_SESSIONS": str(most),
        }
        print("starting the node", flush=True)
        node = stack.enter_context(running_node(variables))
        for calls in next_calls(levels, most):
            levels.append(_calls_at_once(node, clips, calls, seconds))
            print(f"{calls} calls: {levels[-1].broke or 'all well'}", flush=True)
    return NodeReport(sorted(levels, key=lambda level: level.calls), most)


def markdown(figures: NodeReport) -> str:
    """The report's table."""
    rows = table(
        ("calls", "turns", "beyond p50 ms", "p95 ms", "underruns", "gateway CPU s/s", "workers' CPU s/s",
         "words wrong", "callers' lag p99 ms", "what broke"),
        (_row(level) for level in figures.levels),
    )  # fmt: skip
    reached = "; nothing broke, so there may be more" if figures.sessions == figures.most_calls else ""
    return f"{rows}\n**Sessions on this device: {figures.sessions}**{reached}.\n"


def _row(level: CallsAtOnce) -> tuple[object, ...]:
    load, node = level.load, level.load.node
    return (
        level.calls,
        load.turns,
        _ms(level.beyond_p50_ms),
        _ms(level.beyond_p95_ms),
        load.underruns,
        node.cpu.get("gateway") if node else "-",
        node.workers_cpu if node else "-",
        f"{load.word_errors} of {load.words}",
        _ms(load.caller_lag.p99 if load.caller_lag else None) + ("" if load.trusted else " (late)"),
        level.broke or "-",
    )


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=tuple(_MOST_CALLS), default="full")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--seconds", type=float, default=20.0, help="no turn begins after so long")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()
    figures = run(options.size, options.device, options.seconds)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(figures)))
    print(markdown(figures))


if __name__ == "__main__":
    main()
