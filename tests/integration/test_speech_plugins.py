"""The STT and TTS plug-ins of LiveKit Agents and pipecat, pointed at a node by its base URL and no more."""

import json
from pathlib import Path

import pytest

from server.client.transcripts import words
from tests.support import node_js
from tests.support.node import NodeProcess

pytestmark = pytest.mark.examples

ROOT = Path(__file__).parents[2]
SENTENCE = "The library opens on Monday."


@pytest.mark.parametrize("framework", ["livekit", "pipecat"])
async def test_plug_ins_speak_and_understand_files_and_streams(node: NodeProcess, framework: str) -> None:
    python = ROOT / ".venv" / framework / "bin" / "python"
    base_url = node.base_url.replace("ws:", "http:", 1)
    stdout = await node_js.run(python, ROOT / "examples" / "python" / f"{framework}_speech.py", base_url, SENTENCE)
    said, heard, heard_live = (json.loads(line) for line in stdout.splitlines() if line.startswith("{"))
    assert 1.0 < said["seconds"] < 4.0
    assert words(heard["text"]) == words(heard_live["text"]) == words(SENTENCE)
