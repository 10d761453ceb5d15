"""`voicefleet bench tts` on the small shape: every figure is there, and hangs together."""

import json
import subprocess
import sys
from pathlib import Path


def test_the_bench_measures_streams_steps_hops_and_upstream_in_one_run(tmp_path: Path) -> None:
    saved = tmp_path / "figures.json"
    command = ["bench", "tts", "--size", "small", "--device", "cpu", "--rows", "2", "--seconds", "3"]

    run = subprocess.run(
        [sys.executable, "-m", "server.main", *command, "--json", str(saved)],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert run.returncode in (0, 1), run.stderr
    figures = json.loads(saved.read_text())
    held = [level["streams"] for level in figures["levels"] if level["underruns"] == 0]
    assert (run.returncode == 0) == bool(held), "1 says that this machine can't speak a single stream"
    assert figures["weights"].startswith("random")
    assert figures["levels"][0]["streams"] == 1
    for level in figures["levels"]:
        assert level["chunks"] > 0
        assert 0 < level["first_audio_p50_ms"] <= level["first_audio_p95_ms"]
        assert level["tokens_per_second"] > 0
        assert level["real_time_factor"] > 0
        assert level["rows_per_step"] <= level["streams"]
    assert [step["rows"] for step in figures["steps"]] == [1, 2]
    assert figures["steps"][0]["bytes_read"] < figures["steps"][1]["bytes_read"]
    assert all(hop["flow_flops"] > hop["vocoder_flops"] > 0 for hop in figures["hops"])
    assert min(figures["ceilings"].values()) > 0
    assert figures["upstream_audio_seconds_per_second"] > 0
    for words in (
        "upstream's serial generate",
        "most streams of which none ran dry",
        "random, small shape: speed only",
    ):
        assert words in " ".join(run.stdout.split())


def test_cuda_is_asked_for_by_name_only_where_it_is(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "server.main", "bench", "tts", "--device", "cuda"],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env={"CUDA_VISIBLE_DEVICES": "", "PATH": ""},
    )

    assert run.returncode == 1
    assert "no such device here" in run.stderr


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    """A machine without torch: where it should be, there is a package that can't be imported."""
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
    run = subprocess.run(
        [sys.executable, "-m", "server.main", "bench", "tts"],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
    )

    assert run.returncode == 1
    assert run.stderr.splitlines() == [
        "error: chatterbox needs the Python package 'torch', which is not installed; `make gpu` installs all that it "
        "needs (docs/voice.md)"
    ]
