"""`voicefleet bench turns` against a real node: that it measures every kind, not how well this node does."""

import json
import os
import subprocess
import sys
from pathlib import Path

from server.bench.turns.cases import TURNS, Kind
from tests.support.clips import BUNDLED
from tests.support.node import NodeProcess


def bench_turns(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "server.main", "bench", "turns", *arguments]
    environment = os.environ | {"COLUMNS": "160"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)


def test_a_case_of_every_kind_is_played_and_judged(node: NodeProcess, tmp_path: Path) -> None:
    figures, picture = tmp_path / "figures.json", tmp_path / "turns.png"
    done = bench_turns(
        *(node.websocket, "--calls", "6", "--cases", "1", "--recordings", str(BUNDLED)),
        *("--turn-detection", "server_vad", "--silence-ms", "500", "--metrics", f"{node.http}/metrics"),
        *("--json", str(figures), "--plot", str(picture)),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for row in ("complete", "spelled numbers", "interruptions, later", "silence of 0.5 s"):
        assert any(line.startswith(f"{row} ") for line in done.stdout.splitlines()), row
    (report,) = json.loads(figures.read_text("utf-8"))
    assert (report["failures"], report["not_played"]) == ([], 0)
    assert report["turn_detection"] == "server_vad 500"
    turns = {turn["kind"]: turn for turn in report["turn_verdicts"]}
    assert set(turns) == set(TURNS)
    assert turns[Kind.COMPLETE]["noticed"] >= 0.5
    assert turns[Kind.COMPLETE]["answered"] > turns[Kind.COMPLETE]["noticed"]
    assert [turns[kind]["pauses"] for kind in (Kind.HESITATION, Kind.SPELLED)] == [1, 5]
    sounds = {sound["kind"]: sound for sound in report["sound_verdicts"]}
    assert set(sounds) == set(Kind) - set(TURNS)
    assert sounds[Kind.INTERRUPTION]["outcome"] == sounds[Kind.LATER_INTERRUPTION]["outcome"] == "stopped"
    assert sounds[Kind.INTERRUPTION]["reaction"] > 0
    assert [point["silence_ms"] for point in report["plain_silence"]][-1] == 1500
    assert all(report["node"]["cpu"][part] > 0 for part in ("gateway", "vad", "stt", "tts"))
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_when_the_time_is_over_the_rest_is_counted_as_not_played(node: NodeProcess) -> None:
    done = bench_turns(node.websocket, "--cases", "1", "--seconds", "4", "--recordings", str(BUNDLED))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 cases were not played: the time was over" in done.stdout


def test_each_eagerness_plays_all_cases(node: NodeProcess, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    done = bench_turns(
        *(node.websocket, "--cases", "1", "--seconds", "1", "--recordings", str(BUNDLED), "--json", str(figures)),
        *("--eagerness", "low", "--eagerness", "high"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    reports = json.loads(figures.read_text("utf-8"))
    assert [report["turn_detection"] for report in reports] == ["semantic_vad low", "semantic_vad high"]
    assert [len(report["turn_verdicts"]) for report in reports] == [1, 1]


def test_calls_that_are_refused_fail_and_say_why(node: NodeProcess) -> None:
    done = bench_turns(f"{node.websocket}/elsewhere", "--cases", "1", "--recordings", str(BUNDLED))
    assert done.returncode == 1
    assert "11 x " in done.stdout
    assert "refused the call with HTTP 404" in done.stdout


def test_a_recording_without_words_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes((BUNDLED / "vm-next.wav").read_bytes())
    done = bench_turns("ws://127.0.0.1:1/v1/realtime", "--recordings", str(tmp_path))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {tmp_path}/a.wav: its words are nowhere to be read; takes a folder of WAV files")


def test_a_silence_is_no_setting_of_semantic_vad() -> None:
    done = bench_turns("ws://127.0.0.1:1/v1/realtime", "--silence-ms", "500", "--recordings", str(BUNDLED))
    assert done.returncode == 2
    assert "--silence-ms is for --turn-detection server_vad" in " ".join(done.stderr.split())
