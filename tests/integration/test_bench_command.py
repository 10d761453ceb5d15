"""`voicefleet bench` against real nodes: that it measures everything it promises, not how fast this machine is."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from server.observability.waterfall import STAGES
from tests.support.clips import BUNDLED
from tests.support.node import NodeProcess


def bench(*arguments: str, variables: Mapping[str, str] = MappingProxyType({})) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "160"} | dict(variables)
    command = [sys.executable, "-m", "server.main", "bench", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_two_callers_are_measured_from_their_voice_to_the_nodes_cpu(node: NodeProcess, tmp_path: Path) -> None:
    clip, texts, figures = BUNDLED / "vm-next.wav", BUNDLED / "manifest.json", tmp_path / "figures.json"
    done = bench(
        *(node.websocket, "--calls", "2", "--turns", "1", "--wav", str(clip), "--texts", str(texts)),
        *("--metrics", f"{node.http}/metrics", "--json", str(figures)),
    )
    assert done.returncode == 0, done.stderr
    for row in ("voice to voice", "without the LLM's first token", "first audio", "callers' own lag", "underruns"):
        assert row in done.stdout
    report = json.loads(figures.read_text("utf-8"))
    assert (report["turns"], report["failures"], report["unanswered"]) == (2, [], 0)
    assert report["voice_to_voice"]["count"] == 2
    assert report["silence_ms"] == 500
    assert report["without_model"]["p50"] <= report["without_first_token"]["p50"] <= report["voice_to_voice"]["p50"]
    assert {stage: spread["count"] for stage, spread in report["stages"].items()} == dict.fromkeys(STAGES, 2)
    assert report["words"] == 2 * len(["press", "six", "to", "play", "the", "next", "message"])
    assert report["caller_lag"]["count"] > 200
    assert all(report["node"]["cpu"][part] > 0 for part in ("gateway", "vad", "stt", "tts"))
    assert report["node"]["gateway_mib"] > 0


def test_calls_that_are_refused_fail_and_say_why(node: NodeProcess) -> None:
    done = bench(f"{node.websocket}/elsewhere", "--calls", "2", "--turns", "1")
    assert done.returncode == 1
    assert "2, 2 of them refused" in done.stdout
    assert "refused the call with HTTP 404" in done.stdout
    assert "too busy to measure" in done.stdout, "nothing was measured, so nothing is to be trusted"


def test_without_an_address_it_measures_a_node_of_its_own_with_room_and_a_key_for_every_call(
    quick: dict[str, str], tmp_path: Path
) -> None:
    figures = tmp_path / "figures.json"
    variables = quick | {"VOICE_API_KEYS": "vf_bench.secret", "VOICE_MAX_SESSIONS": "1"}
    detection = "--turn-detection", "semantic_vad"
    done = bench("--calls", "2", "--turns", "2", *detection, "--json", str(figures), variables=variables)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(figures.read_text("utf-8"))
    assert (report["turns"], report["refused"]) == (4, 0)
    assert report["silence_ms"] is None, "turns end by what was said"


def test_metrics_that_cannot_be_read_are_one_line(node: NodeProcess) -> None:
    done = bench(node.websocket, "--calls", "1", "--turns", "1", "--metrics", f"{node.http}/nowhere")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {node.http}/nowhere can't be read")
