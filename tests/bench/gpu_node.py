"""Everything GPU-bound of a node, measured by one command: `python -m tests.bench.gpu_node` on any CUDA machine.

Stage by stage, each in a process of its own with a time limit: synthesis (windowed, chunked, captured, compiled),
recognition, both on one device, the whole node; then what the simulator predicts of it, and what it says about an A10G.
A stage that fails is recorded, and the next one runs. FOLDER gets the figures of each (.json), what it complained of
(.log), and `report.md`, to be pasted into docs/benchmarks.md. Exits with 1 when a stage failed. With `--size small
--device cpu` it proves only that it works.
"""

import argparse
import os
import platform
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import ctranslate2
import msgspec
import torch

from server.bench.tts_report import TtsReport
from tests.bench import a10g, node_sessions, predicted, stt_throughput, tts_beside_stt, tts_throughput
from tests.bench.node_sessions import NodeReport
from tests.bench.stt_throughput import SttReport
from tests.bench.tts_beside_stt import SharedReport

_LIMIT_SECONDS = {"full": 3600.0, "small": 300.0}
_STOP_SECONDS = 60.0
_ERROR = re.compile(r"error: |[\w.]+(Error|Exception|NotServing|NotStarted)\b")  # a command's, or a traceback's last


@dataclass(frozen=True, slots=True)
class Stage:
    """A measurement: the module that makes it, with arguments of its own, and how its figures are shown."""

    title: str
    command: Sequence[str]
    markdown: Callable[[bytes], str]


STAGES: Mapping[str, Stage] = {
    "tts": Stage(
        "Speech synthesis",
        ("tests.bench.tts_throughput",),
        lambda figures: tts_throughput.markdown(msgspec.json.decode(figures, type=TtsReport)),
    ),
    "chunked": Stage(
        "Speech synthesis, chunked flow",
        ("tests.bench.tts_throughput", "--flow", "chunked"),
        lambda figures: tts_throughput.markdown(msgspec.json.decode(figures, type=TtsReport)),
    ),
    "captured": Stage(
        "Speech synthesis, flow, vocoder and prefill captured",
        ("tests.bench.tts_throughput", "--parts", "captured"),
        lambda figures: tts_throughput.markdown(msgspec.json.decode(figures, type=TtsReport)),
    ),
    "compiled": Stage(
        "Speech synthesis, captured and compiled",
        ("tests.bench.tts_throughput", "--parts", "compiled"),
        lambda figures: tts_throughput.markdown(msgspec.json.decode(figures, type=TtsReport)),
    ),
    "stt": Stage(
        "Speech recognition",
        ("tests.bench.stt_throughput",),
        lambda figures: stt_throughput.markdown(msgspec.json.decode(figures, type=SttReport)),
    ),
    "both": Stage(
        "Both on one device",
        ("tests.bench.tts_beside_stt",),
        lambda figures: tts_beside_stt.markdown(msgspec.json.decode(figures, type=SharedReport)),
    ),
    "node": Stage(
        "The whole node",
        ("tests.bench.node_sessions",),
        lambda figures: node_sessions.markdown(msgspec.json.decode(figures, type=NodeReport)),
    ),
}


def run_stage(command: Sequence[str], log: Path, limit: float) -> str:
    """Run it to its end, or stop it after so many seconds; gives what went wrong, empty if nothing did."""
    with log.open("w") as complaints:
        process = subprocess.Popen(command, stderr=complaints, start_new_session=True)
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            return f"stopped after {limit:.0f} s"
        finally:
            _stop(process)
    if not process.returncode:
        return ""
    errors = [line for line in log.read_text(errors="replace").splitlines() if _ERROR.match(line)]
    return f"exit code {process.returncode}" + (f"; {errors[-1]}" if errors else "")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """With the processes that it started, as Ctrl-C would; the hard way if that does not help."""
    for signum in (signal.SIGINT, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, signum)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                continue


def _section(title: str, failure: str, show: Callable[[], str]) -> tuple[str, bool]:
    """A section of the report, and whether all went well: what can't be shown is a failure like any other."""
    shown = ""
    try:
        shown = show()
    except Exception as error:  # whatever it is, the rest of the report is to be written
        failure = failure or f"{type(error).__name__}: {error}"
    said = f"**This failed**: {failure}\n\n" if failure else ""
    return f"### {title}\n\n{said}{shown}", not failure


def _shown(stage: Stage, figures: Path) -> str:
    return stage.markdown(figures.read_bytes())


def _predicted(folder: Path, names: Sequence[str]) -> str:
    reports = [msgspec.json.decode((folder / f"{name}.json").read_bytes(), type=TtsReport) for name in names]
    return predicted.markdown(reports)


def _on_an_a10g(folder: Path, names: Sequence[str]) -> str:
    tts = tts_throughput.measured(msgspec.json.decode((folder / "tts.json").read_bytes(), type=TtsReport))
    node = None
    if "node" in names and (folder / "node.json").exists():
        held = msgspec.json.decode((folder / "node.json").read_bytes(), type=NodeReport)
        costs = [level.load.node.cpu.get("gateway") for level in held.levels if level.load.node and not level.broke]
        if costs and costs[-1]:  # of the most calls, which it costs least
            node = a10g.NodeMeasured(held.sessions, costs[-1])
    arithmetic = a10g.scaled(tts, node=node).arithmetic
    return (
        "Reckoned, not measured: each part is taken to reach the same share of the A10G's data sheet (600 GB/s, 70 "
        "TFLOP/s dense fp16, 24 GB, 4 vCPU of a g5.xlarge) as of the ceilings measured here.\n\n"
        + "".join(f"{number}. {line}\n" for number, line in enumerate(arithmetic, 1))
    )


def _machine(device: str) -> str:
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    where = f"{cores} CPU cores, {memory:.0f} GiB"
    if device == "cuda":
        gpu = torch.cuda.get_device_properties(0)
        where = f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}; {where}"
    versions = {"Python": platform.python_version(), "torch": torch.__version__, "CTranslate2": ctranslate2.__version__}
    return f"{where}; {', '.join(f'{what} {version}' for what, version in versions.items())}"


def run(size: str, device: str, folder: Path, seconds: float, names: Sequence[str], mps: bool) -> bool:
    """Measure, and write the report; gives whether every stage did well."""
    folder.mkdir(parents=True, exist_ok=True)
    command = shlex.join(["python", "-m", "tests.bench.gpu_node", *sys.argv[1:]])
    sections = [f"## On a GPU\n\n```sh\n{command}\n```\n\n{_machine(device)}.\n"]
    if (size, device) != ("full", "cuda"):
        sections.append("**These figures prove that the command works, and nothing else.**\n")
    all_well = True
    for number, name in enumerate(names, 1):
        stage = STAGES[name]
        figures = folder / f"{name}.json"
        figures.unlink(missing_ok=True)
        print(f"[{number}/{len(names)}] {stage.title}", flush=True)
        began = time.monotonic()
        arguments = ["--size", size, "--device", device, "--seconds", str(seconds), "--json", str(figures)]
        arguments += ["--mps"] if mps and name == "both" else []
        failure = run_stage(
            [sys.executable, "-m", *stage.command, *arguments], folder / f"{name}.log", _LIMIT_SECONDS[size]
        )
        text, well = _section(stage.title, failure, partial(_shown, stage, figures))
        sections.append(text)
        all_well &= well
        print(f"[{number}/{len(names)}] {'done' if well else 'FAILED'} in {time.monotonic() - began:.0f} s", flush=True)
    if spoken := [name for name in ("tts", "chunked", "captured", "compiled") if name in names]:
        text, well = _section("Predicted beside measured", "", partial(_predicted, folder, spoken))
        sections.append(text)
        all_well &= well
    if "tts" in names:
        text, well = _section("On an A10G", "", partial(_on_an_a10g, folder, names))
        sections.append(text)
        all_well &= well
    report = folder / "report.md"
    report.write_text("\n".join(sections), encoding="utf-8")
    print(f"report: {report}", flush=True)
    return all_well


def _stages(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in STAGES]:
        raise argparse.ArgumentTypeError(f"got {unknown[0]!r}; takes {', '.join(STAGES)}, comma-separated")
    return [name for name in STAGES if name in names]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=tuple(_LIMIT_SECONDS), default="full", help="small is for a cpu")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--out", type=Path, default=Path("gpu-report"), metavar="FOLDER")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each load lasts")
    parser.add_argument("--only", type=_stages, default=list(STAGES), metavar="STAGES", help=",".join(STAGES))
    parser.add_argument("--mps", action="store_true", help="both on one device: again under NVIDIA's MPS")
    options = parser.parse_args()
    if options.device == "cuda" and not (torch.cuda.is_available() and ctranslate2.get_cuda_device_count()):
        raise SystemExit("--device: got 'cuda', and torch or CTranslate2 finds no such device here; takes 'cpu'")
    if options.device == "cpu":
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # many processes share few cores: torch's threads would fight
    if not run(options.size, options.device, options.out, options.seconds, options.only, options.mps):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
