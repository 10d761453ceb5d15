"""`python -m tests.bench.gpu_node`: its smallest slice runs to the end without a GPU, and its report hangs together."""

import json
import subprocess
import sys
from pathlib import Path

import torch


def _command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tests.bench.gpu_node", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=200)


def test_the_whole_node_is_measured_and_reported(tmp_path: Path) -> None:
    run = _command("--size", "small", "--device", "cpu", "--seconds", "1", "--only", "node", "--out", str(tmp_path))

    assert run.returncode == 0, run.stdout + run.stderr
    figures = json.loads((tmp_path / "node.json").read_text())
    assert figures["levels"][0]["calls"] == 1
    assert figures["levels"][0]["load"]["turns"] == 1
    assert figures["levels"][0]["beyond_p95_ms"] > 0
    report = (tmp_path / "report.md").read_text()
    assert "--only node" in report
    assert "prove that the command works, and nothing else" in report
    assert "**Sessions on this device: " in report


def test_without_the_device_it_says_so_in_one_line(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        wrong, said = ("--only", "video"), "got 'video'; takes tts, chunked, captured, stt, both, node"
    else:
        wrong, said = ("--device", "cuda"), "--device: got 'cuda', and torch or CTranslate2 finds no such device here"
    run = _command(*wrong, "--out", str(tmp_path / "never"))
    assert run.returncode != 0
    assert said in run.stderr
    assert not (tmp_path / "never").exists()
