"""The program `voicefleet` as a person uses it: help, wrong settings, the demo, a call; what goes wrong is one line."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner, Result

from server.audio.wav import read_wav
from server.cli.call import save_answers
from server.cli.console import errors_shown, show_addresses, show_change, show_turn
from server.cli.demo import succeeded
from server.client.caller import Turn
from server.client.line import Lost, WentOn
from server.client.playout import is_audible
from server.main import cli
from server.models.store import ModelStore
from server.node.node import Node
from server.settings.loading import SettingsError
from server.settings.settings import Settings
from server.websocket_handler import tls_context
from tests.support.clips import BUNDLED
from tests.support.live_call import live_call
from tests.support.node import NodeProcess, running_node
from tests.support.openai_llm_standin import OpenAiStandin

NEXT_MESSAGE = BUNDLED / "vm-next.wav"
KEY = "vf_commands.Zk3hVb1"


def in_process(*arguments: str, **variables: str) -> Result:
    """The program in a clean environment of these variables, on a terminal wide enough for its tables."""
    plain = {name: None for name in os.environ if name.startswith("VOICE_")}
    return CliRunner(env={**plain, "COLUMNS": "200", **variables}).invoke(cli, list(arguments))


def voicefleet(
    *arguments: str, cwd: Path | None = None, variables: Mapping[str, str] = MappingProxyType({})
) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "VOICE_LLM"} | dict(variables)
    command = [sys.executable, "-m", "server.main", *arguments]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=90, check=False)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """What went wrong, which is the last thing that is said; nowhere is there a traceback."""
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


# --- help and settings


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ((), ["serve", "demo", "call", "bench", "token", "worker", "models"]),
        (("serve",), ["--host", "--port", "--http-port", "--tls-cert", "--tls-key", "--config", "VOICE_PORT"]),
        (("demo",), ["--once", "--save", "--port", "--http-port", "--config"]),
        (
            ("call",),
            [
                "--wav",
                "--mic",
                "--binary",
                "--resume",
                "--twilio",
                "--key",
                "--save",
                "--ca-file",
                "--instructions",
                "VOICEFLEET_KEY",
            ],
        ),
        (("bench",), ["calls", "tts", "bench --calls 8"]),
        (("bench", "calls"), ["--calls", "--turns"]),
        (("bench", "tts"), ["--size", "--weights", "--rows", "--seconds", "--json"]),
        (("token",), ["--subject", "--ttl", "--new-key", "--config"]),
        (("worker",), ["tts", "stt"]),
        (("worker", "tts"), ["--listen", "--tls-cert", "--tls-key", "--config", "VOICE_WORKER_TOKEN"]),
        (("models",), ["list", "pull", "verify"]),
        (("models", "pull"), ["--all"]),
    ],
)
def test_help_names_everything(command: tuple[str, ...], names: list[str]) -> None:
    result = in_process(*command, "--help")
    assert result.exit_code == 0
    assert [name for name in names if name not in result.stdout] == []


def test_without_a_command_there_is_help() -> None:
    assert "demo" in in_process().output


@pytest.mark.parametrize("command", ["serve", "demo"])
@pytest.mark.parametrize(
    ("arguments", "variables", "says"),
    [
        ((), {"VOICE_MAX_SESSIONS": "many"}, "VOICE_MAX_SESSIONS: got 'many'; takes a whole number from 1"),
        ((), {"VOICE_LLM": "gpt"}, "VOICE_LLM: got 'gpt'; takes 'local', 'bedrock:MODEL_ID', 'bedrock:MODEL_ID@REG"),
        ((), {"VOICE_STT_DEVICE": "tpu"}, "VOICE_STT_DEVICE: got 'tpu'; takes 'auto' or 'cpu' or 'cuda'"),
        ((), {"VOICE_HOST": "0.0.0.0"}, "VOICE_HOST: got '0.0.0.0', which others can reach; takes a loopback address"),
        ((), {"VOICE_MAX_SESION": "3"}, "no such setting; did you mean VOICE_MAX_SESSIONS? docs/settings.md"),
        ((), {"VOICE_STT_MODEL": "hibari-heart"}, "VOICE_STT_MODEL: got 'hibari-heart'; takes 'tiny.en' or 'base' or"),
        ((), {"VOICE_STT_LANGUAGE": "de"}, "VOICE_STT_LANGUAGE: got 'de', which VOICE_STT_MODEL 'tiny.en' does not"),
        ((), {"VOICE_RUN_DIR": "/nowhere"}, "VOICE_RUN_DIR: got '/nowhere'; takes a folder that exists"),
        ((), {"VOICE_API_KEYS": "sha256:short"}, "VOICE_API_KEYS: got a value that is not shown; takes keys in plain"),
        (("--port", "70000"), {}, "VOICE_PORT: got 70000; takes a whole number from 0 up to 65535"),
        (("--config", "nowhere.toml"), {}, "config: got 'nowhere.toml', which can't be read"),
        ((), {"VOICE_TLS_CERT": "cert.pem"}, "VOICE_TLS_CERT and VOICE_TLS_KEY go together"),
    ],
)
def test_a_wrong_setting_is_refused_at_the_start(
    command: str, arguments: tuple[str, ...], variables: dict[str, str], says: str
) -> None:
    result = in_process(command, *arguments, **variables)
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stdout == ""


def test_a_certificate_that_cannot_be_used_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    done = voicefleet("serve", "--tls-cert", "cert.pem", "--tls-key", "key.pem", cwd=tmp_path)
    assert done.returncode == 2
    assert last_line(done).startswith("error: VOICE_TLS_CERT, VOICE_TLS_KEY: got 'cert.pem' and 'key.pem', which can't")
    assert "worker_started" not in done.stderr


def test_a_certificate_that_is_none_is_refused() -> None:
    settings = Settings(tls_cert=NEXT_MESSAGE, tls_key=NEXT_MESSAGE)
    with pytest.raises(SettingsError, match=r"can't be used .*PEM.*; takes a certificate chain and its private key"):
        tls_context(settings)


@pytest.mark.parametrize("command", ["serve", "demo"])
@pytest.mark.parametrize("option", ["--port", "--http-port"])
def test_a_port_in_use_is_said_in_a_line_before_models_are_fetched(command: str, option: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ports = {"--port": "0", "--http-port": "0"} | {option: port}
        models = tmp_path / "models"
        result = in_process(command, *[word for pair in ports.items() for word in pair], VOICE_MODEL_DIR=str(models))
    assert result.exit_code == 1
    name = {"--port": "VOICE_PORT", "--http-port": "VOICE_HTTP_PORT"}[option]
    reason = "which can't be listened on (Address already in use); takes a free port, 0 for any"
    assert result.stderr == f"error: {name}: got {port}, {reason}\n"
    assert not models.exists()


@pytest.mark.parametrize("worker", ["stt", "tts"])
def test_a_workers_address_in_use_is_said_in_a_line_before_its_model_is_fetched(worker: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = in_process("worker", worker, "--listen", f"127.0.0.1:{port}", VOICE_MODEL_DIR=str(tmp_path / "models"))
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: --listen: got '127.0.0.1:{port}', which can't be listened on (Address")
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("worker", "variables", "says"),
    [
        ("stt", {"VOICE_STT_MODEL": "hibari-heart"}, "VOICE_STT_MODEL: got 'hibari-heart'; takes 'tiny.en' or"),
        ("stt", {"VOICE_STT_LANGUAGE": "de"}, "VOICE_STT_LANGUAGE: got 'de', which VOICE_STT_MODEL 'tiny.en' does not"),
    ],
)
def test_a_workers_wrong_setting_is_refused_before_its_model_is_fetched(
    worker: str, variables: dict[str, str], says: str, tmp_path: Path
) -> None:
    result = in_process(
        "worker", worker, "--listen", "127.0.0.1:0", VOICE_MODEL_DIR=str(tmp_path / "models"), **variables
    )
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {says}")
    assert not (tmp_path / "models").exists()


def test_a_language_model_that_takes_no_key_of_ours_is_said_in_a_line(
    quick: dict[str, str], llm: OpenAiStandin
) -> None:
    llm.models_status = 401
    try:
        done = voicefleet("serve", "--port", "0", "--http-port", "0", variables=quick)
    finally:
        llm.models_status = 200
    assert done.returncode == 1
    assert last_line(done).startswith("error: the language model at 127.0.0.1")
    assert "401" in last_line(done)


def test_a_worker_that_cannot_start_is_said_in_a_line_and_once(tmp_path: Path, llm: OpenAiStandin) -> None:
    too_long = tmp_path / ("x" * 120)  # for the address of a unix socket
    too_long.mkdir()
    variables = {"VOICE_RUN_DIR": str(too_long), "VOICE_LLM": f"openai:standin@{llm.url}"}
    done = voicefleet("serve", "--port", "0", "--http-port", "0", variables=variables)
    assert done.returncode == 1
    assert re.match(r"error: the (stt|tts) worker can't start: got the address 'unix:.*', which can't", last_line(done))
    assert done.stderr.count('"event": "worker_started"') == 2, "each once"


# --- the demo


DEMO = ("demo", "--once", "--port", "0", "--http-port", "0")


def test_the_demo_asks_a_question_and_saves_an_audible_answer(tmp_path: Path) -> None:
    """With everything that a newcomer gets, the language model included."""
    done = voicefleet(*DEMO, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "heard     What is the capital city of France?" in done.stdout
    assert "Paris" in done.stdout
    assert all(stage in done.stdout for stage in ("end of turn", "transcript", "first LLM token", "first audio"))
    assert done.stderr == "", "a person reads this; the node's log is not for them"
    samples, _ = read_wav(tmp_path / "answer.wav")
    assert is_audible(samples)


def test_the_demo_fails_where_the_node_hears_something_else(tmp_path: Path, quick: dict[str, str]) -> None:
    """The stand-in for speech recognition hears the same in everything. Who asks for the node's log gets it."""
    done = voicefleet(*DEMO, cwd=tmp_path, variables=quick | {"VOICE_LOG_LEVEL": "info"})
    assert done.returncode == 1
    assert "heard     What are your opening hours?" in done.stdout
    assert "node_serving" in [json.loads(line)["event"] for line in done.stderr.splitlines()]


def test_the_demo_ends_by_naming_the_page_to_talk_to_the_node_with(tmp_path: Path) -> None:
    node = Node(Settings(), ModelStore(tmp_path))
    node.http = "http://127.0.0.1:9001"
    shown = StringIO()
    show_addresses(Console(file=shown, width=200), node)
    assert shown.getvalue().splitlines()[-1].startswith("  talk     http://127.0.0.1:9001/talk ")


def test_the_demo_fails_without_an_audible_answer() -> None:
    turn = Turn(heard="What is the capital city of France?", answered="Paris.", status="completed", speech_ended_at=0.5)
    assert not succeeded(turn)
    turn.playout.add(np.full(2400, 5000, np.int16), now=1.0)
    assert succeeded(turn)
    turn.status = "failed"
    assert not succeeded(turn)


# --- a call


@pytest.fixture(scope="module")
def small(llm: OpenAiStandin, quick: dict[str, str]) -> Iterator[NodeProcess]:
    """A node that wants a key and takes one call."""
    with running_node(**quick, VOICE_API_KEYS=KEY, VOICE_MAX_SESSIONS="1") as running:
        yield running


def test_a_call_prints_what_was_heard_and_answered(node: NodeProcess, tmp_path: Path) -> None:
    saved = tmp_path / "answers.wav"
    done = voicefleet("call", node.websocket, "--wav", str(NEXT_MESSAGE), "--save", str(saved))
    assert done.returncode == 0, done.stderr
    assert "heard     Press 6 to play the next message." in done.stdout
    assert "answered  You said: Press 6 to play the next message." in done.stdout
    assert is_audible(read_wav(saved)[0])


def test_a_telephone_call_prints_when_it_was_answered(node: NodeProcess, tmp_path: Path) -> None:
    saved = tmp_path / "answers.wav"
    done = voicefleet("call", "--twilio", node.twilio, "--wav", str(NEXT_MESSAGE), "--save", str(saved))
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"greeted   for \d+\.\d s\nanswered  for \d+\.\d s, after \d+ ms\n", done.stdout)
    samples, rate = read_wav(saved)
    assert is_audible(samples)
    assert rate == 8000


def test_what_is_said_is_printed_as_it_is() -> None:
    screen = StringIO()
    turn = Turn(heard="Press [/b].", answered="Or [red], or [/red].")
    show_turn(Console(file=screen), turn)
    assert screen.getvalue() == "heard     Press [/b].\nanswered  Or [red], or [/red].\n"


def test_what_becomes_of_a_calls_connection_is_shown() -> None:
    screen = StringIO()
    console = Console(file=screen, width=200)
    for change in (Lost("no close frame"), WentOn("lost", 0.42, 0.5), WentOn("moved", 0.1, 1.98)):
        show_change(console, change)
    assert screen.getvalue().splitlines() == [
        "lost      the connection: no close frame",
        "resumed   on another connection within 0.42 s; 0.5 s of your audio are sent again",
        "moved     on another connection within 0.10 s; 2.0 s of your audio are sent again",
    ]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ws://127.0.0.1:9/v1/realtime", "can't be reached"),
        ("ws://127.0.0.1:99999/v1/realtime", "can't be reached: Port out of range"),
        ("http://127.0.0.1:9/v1/realtime", "can't be reached: http://127.0.0.1:9/v1/realtime isn't a valid URI"),
        ("ws://[::1/v1/realtime", "can't be reached: Invalid IPv6 URL"),
    ],
)
def test_a_call_that_reaches_nobody_is_said_in_a_line(url: str, says: str) -> None:
    result = in_process("call", url, "--wav", str(NEXT_MESSAGE))
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert says in result.stderr


def test_a_call_that_is_refused_says_why(small: NodeProcess) -> None:
    wrong_path = small.websocket.replace("/v1/", "/v2/")
    tls = small.websocket.replace("ws:", "wss:")
    for arguments, says in (
        ((small.websocket,), "refused the call with HTTP 401: no credential; send `Authorization: Bearer"),
        ((small.websocket, "--key", "wrong"), "refused the call with HTTP 401: the API key is not one that this node"),
        ((small.websocket, "--key", "new\nline"), "the key holds characters that no header can hold"),
        ((wrong_path, "--key", KEY), "refused the call with HTTP 404: no such path; takes /v1/realtime"),
        ((tls, "--key", KEY), "can't be reached: "),
    ):
        result = in_process("call", *arguments, "--wav", str(NEXT_MESSAGE))
        assert result.exit_code == 1
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
        assert says in result.stderr


async def test_a_call_to_a_full_node_says_so(small: NodeProcess) -> None:
    async with live_call(small.websocket, additional_headers={"Authorization": f"Bearer {KEY}"}):
        done = voicefleet("call", small.websocket, "--wav", str(NEXT_MESSAGE), variables={"VOICEFLEET_KEY": KEY})
    assert done.returncode == 1
    assert "HTTP 503: all 1 sessions of this node are taken; try again in 2 s" in last_line(done)


def test_an_answer_that_cannot_be_saved_is_said_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = tmp_path / "nowhere" / "answer.wav"
    with pytest.raises(typer.Exit) as exited, errors_shown():
        save_answers(nowhere, [Turn()])
    assert exited.value.exit_code == 1
    assert capsys.readouterr().err == f"error: [Errno 2] No such file or directory: '{nowhere}'\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--wav", "nowhere.wav"), "does not exist"),
        (("--wav", "pyproject.toml"), "is not a WAV file; takes a WAV file"),
        ((), "takes --wav or --mic, one of the two"),
        (("--mic", "--wav", "server/demo/question.wav"), "takes --wav or --mic, one of the two"),
    ],
)
def test_a_call_without_anything_to_say_is_refused(arguments: tuple[str, ...], says: str) -> None:
    result = in_process("call", "ws://127.0.0.1:9/v1/realtime", *arguments)
    assert result.exit_code in (1, 2)
    assert says in result.stderr
