"""JavaScript clients against a real node with TLS and API keys: npm `openai`, `@openai/agents-realtime`, our example.

Each speaks real speech and hears a real voice; only the language model is a stand-in.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trustme

from server.audio.wav import read_wav, write_wav
from server.client.playout import is_audible
from server.client.transcripts import words
from tests.support import node_js
from tests.support.live_call import live_call
from tests.support.node import NodeProcess, running_node
from tests.support.openai_llm_standin import Answer, OpenAiStandin, Refusal, ToolCallAnswer, by_rules
from tests.support.speech import resample, speak

CLIENTS = Path(__file__).parent / "node_clients"
EXAMPLE = Path(__file__).parents[2] / "examples" / "node"
KEY = "vf_test.0123456789"
WEATHER, STORY, NAME = "What is the weather in Paris?", "Tell me a story.", "My name is Peter."
TALE = (
    "Once upon a time there was a farmer who had three sons. The eldest went to sea. The second one became a baker. "
    "The youngest stayed at home and looked after the sheep on the green hills behind the house."
)
RULES: dict[str, Answer] = {
    "weather": ToolCallAnswer("get_weather", {"city": "Paris"}),
    "story": TALE,
    "name": "Nice to meet you.",
}


@dataclass(frozen=True)
class Guarded:
    """A node that takes two calls at once, over TLS and with a key only. `authority` is its authority's certificate."""

    node: NodeProcess
    authority: Path

    @property
    def variables(self) -> dict[str, str]:
        """What a client on Node needs to know."""
        return {"NODE_EXTRA_CA_CERTS": str(self.authority), "VOICEFLEET_KEY": KEY}


@pytest.fixture(scope="module")
def guarded(llm: OpenAiStandin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "node.pem"))
    settings = {
        "VOICE_LLM": f"openai:standin@{llm.url}",
        "VOICE_TLS_CERT": str(folder / "node.pem"),
        "VOICE_TLS_KEY": str(folder / "node.pem"),
        "VOICE_API_KEYS": KEY,
        "VOICE_MAX_SESSIONS": "2",
        "VOICE_RETRY_AFTER_SECONDS": "1",
    }
    with running_node(**settings) as node:
        yield Guarded(node, folder / "authority.pem")


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What the callers of the SDKs say, as files of raw PCM at 24 kHz."""
    folder = tmp_path_factory.mktemp("speech")
    files: list[Path] = []
    for sentence in (WEATHER, STORY, NAME):
        files.append(folder / f"{len(files)}.pcm")
        files[-1].write_bytes(resample(asyncio.run(speak(sentence)), 16_000, 24_000))
    return files


@pytest.fixture(scope="module")
def sdks() -> Path:
    """The folder of the scripts that use the SDKs, installed."""
    node_js.install(CLIENTS)
    return CLIENTS


@pytest.fixture(scope="module")
def example() -> Path:
    """The example's program, built."""
    node_js.install(EXAMPLE)
    node_js.npm(EXAMPLE, "run", "build")
    return EXAMPLE / "dist" / "main.js"


@pytest.mark.parametrize(
    "project", [CLIENTS, EXAMPLE, EXAMPLE.with_name("livekit-node")], ids=lambda project: str(project.name)
)
def test_a_lock_names_hashes_and_no_registry(project: Path) -> None:
    packages = json.loads((project / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert all("integrity" in package and "resolved" not in package for path, package in packages.items() if path)


@dataclass(frozen=True)
class Line:
    """What a script told, line by line."""

    told: list[dict[str, Any]]

    def all(self, event: str, field: str) -> list[Any]:
        return [line[field] for line in self.told if line["event"] == event]


async def run_sdk(guarded: Guarded, script: Path, *arguments: str | Path) -> Line:
    stdout = await node_js.run(node_js.newest_node(), script, *arguments, **guarded.variables)
    return Line([json.loads(line) for line in stdout.splitlines()])


def check_the_conversation(line: Line, model: OpenAiStandin) -> None:
    """A function call, a story that was interrupted, and the answer to the interruption."""
    assert [words(text) for text in line.all("heard", "transcript")] == [words(WEATHER), words(STORY), words(NAME)]
    assert line.all("called", "name") == ["get_weather"]
    assert line.all("called", "arguments") == [{"city": "Paris"}]
    assert line.all("answered", "status") == ["completed", "completed", "cancelled", "completed"]
    assert line.all("answered", "reason")[2] == "turn_detected"
    _, after_call, story, last = line.all("answered", "transcript")
    assert words(after_call) == words("The answer is: 18 degrees")
    assert TALE.startswith(story)
    assert last == "Nice to meet you."
    assert line.all("loudness", "loudest")[0] > 1000
    (heard_ms,) = line.all("truncated", "audio_end_ms")
    check_memory(model, heard_ms)


def check_memory(model: OpenAiStandin, heard_ms: int) -> None:
    """The model was shown the story as far as it was heard."""
    told, answered = model.requests[-1]["messages"][-2:]
    assert words(answered["content"]) == words(NAME)
    assert told["role"] == "assistant"
    assert TALE.startswith(told["content"])
    assert abs(len(told["content"]) - heard_ms / 1000 * 15) < 25, "about fifteen characters a second"


@pytest.mark.parametrize("transport", ["ws", "browser"])
async def test_npm_openai_holds_a_conversation_over_tls(
    guarded: Guarded, answers: OpenAiStandin, sdks: Path, speech: list[Path], transport: str
) -> None:
    answers.answer = by_rules(RULES)
    base_url = guarded.node.base_url.replace("wss:", "https:")
    line = await run_sdk(guarded, sdks / "openai_sdk.mjs", transport, base_url, *speech)
    check_the_conversation(line, answers)


async def test_npm_agents_realtime_holds_a_conversation_over_tls(
    guarded: Guarded, answers: OpenAiStandin, sdks: Path, speech: list[Path]
) -> None:
    answers.answer = by_rules(RULES)
    line = await run_sdk(guarded, sdks / "agents_sdk.mjs", guarded.node.websocket, *speech)
    check_the_conversation(line, answers)
    (history,) = line.all("history", "messages")
    told = answers.requests[-1]["messages"][-2]["content"]
    assert [role for role, _ in history] == ["user", "assistant"] * 3
    assert history[3][1] == told, "the client's history is the model's"


def a_call(folder: Path, *sentences: bytes, pause: float) -> Path:
    """A WAV file at 8 kHz, like a telephone's, of a caller who says these (PCM at 16 kHz) with pauses in between."""
    pcm = bytes(round(16_000 * pause) * 2).join(sentences)
    write_wav(folder / "spoken.wav", np.frombuffer(resample(pcm, 16_000, 8_000), "<i2"), 8_000)
    return folder / "spoken.wav"


@pytest.mark.parametrize("node", node_js.nodes().values(), ids=[f"node-{major}" for major in node_js.nodes()])
async def test_the_example_bridges_a_call_and_falls_silent_when_the_caller_speaks(
    guarded: Guarded, answers: OpenAiStandin, example: Path, tmp_path: Path, node: Path
) -> None:
    answers.answer = by_rules(RULES)
    spoken = a_call(tmp_path, await speak(STORY), await speak(NAME), pause=5.0)
    heard = tmp_path / "heard.wav"
    stdout = await node_js.run(node, example, guarded.node.websocket, spoken, heard, **guarded.variables)

    callers = [line.partition(":")[2] for line in stdout.splitlines() if line.startswith("caller:")]
    assistants = [line.partition(":")[2].strip() for line in stdout.splitlines() if line.startswith("assistant:")]
    assert [words(text) for text in callers] == [words(STORY), words(NAME)]
    assert assistants[0].endswith("(cancelled)")
    assert assistants[1] == "Nice to meet you. (completed)"

    samples, rate = read_wav(heard)
    assert rate == 8_000
    loud = np.flatnonzero(np.abs(samples) > 500)
    pause = int(np.argmax(np.diff(loud)))
    assert loud[pause + 1] - loud[pause] > 0.8 * rate, "from the interruption to its answer"
    heard_ms = 1000 * int(loud[pause] - loud[0]) // rate
    check_memory(answers, heard_ms)


@asynccontextmanager
async def a_full_node(guarded: Guarded) -> AsyncIterator[None]:
    """All the places of the node are taken inside the block."""
    options: dict[str, Any] = {
        "ssl": ssl.create_default_context(cafile=guarded.authority),
        "additional_headers": {"Authorization": f"Bearer {KEY}"},
    }
    async with live_call(guarded.node.websocket, **options), live_call(guarded.node.websocket, **options):
        yield


async def test_the_example_calls_again_when_the_node_is_full(
    guarded: Guarded, answers: OpenAiStandin, example: Path, tmp_path: Path
) -> None:
    spoken, heard = a_call(tmp_path, await speak(NAME), pause=0.0), tmp_path / "heard.wav"
    async with asyncio.TaskGroup() as tasks:
        async with a_full_node(guarded):
            refused = len(guarded.node.events("handshake_refused"))
            call = tasks.create_task(
                node_js.run(node_js.newest_node(), example, guarded.node.websocket, spoken, heard, **guarded.variables)
            )
            await guarded.node.until(lambda: len(guarded.node.events("handshake_refused")) > refused)
        stdout = await call
    assert "(completed)" in stdout
    assert is_audible(read_wav(heard)[0])


async def test_the_example_says_why_a_call_is_refused(guarded: Guarded, example: Path, tmp_path: Path) -> None:
    spoken = a_call(tmp_path, pause=0.0)
    variables = guarded.variables | {"VOICEFLEET_KEY": "vf_wrong.0123456789"}
    with pytest.raises(AssertionError, match=r"call refused: HTTP 401: .*key"):
        await node_js.run(
            node_js.newest_node(), example, guarded.node.websocket, spoken, tmp_path / "heard.wav", **variables
        )


async def test_the_example_says_why_an_answer_failed(
    guarded: Guarded, answers: OpenAiStandin, example: Path, tmp_path: Path
) -> None:
    answers.answer = by_rules({"name": Refusal(400, "model_not_found")})
    spoken = a_call(tmp_path, await speak(NAME), pause=0.0)
    with pytest.raises(AssertionError, match=r"assistant: I.m sorry, .+ \(failed, invalid_request: .+\)"):
        await node_js.run(
            node_js.newest_node(), example, guarded.node.websocket, spoken, tmp_path / "heard.wav", **guarded.variables
        )
