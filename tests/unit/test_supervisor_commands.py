"""What a worker is started with."""

from pathlib import Path

import pytest

from server.settings.settings import Settings
from server.workers.commands import speech_workers, worker_environment


def test_only_workers_without_an_address_are_started(tmp_path: Path) -> None:
    assert [command.name for command in speech_workers(Settings(), tmp_path)] == ["stt", "tts"]
    assert [command.name for command in speech_workers(Settings(stt_address="unix:/a"), tmp_path)] == ["tts"]
    assert speech_workers(Settings(stt_address="unix:/a", tts_address="unix:/b,host:1"), tmp_path) == []


def test_a_worker_serves_the_address_it_is_reached_at(tmp_path: Path) -> None:
    command = speech_workers(Settings(), tmp_path)[0]
    assert command.address == f"unix:{tmp_path}/stt.sock"
    assert command.argv[-2:] == ("--address", command.address)


def test_a_worker_gets_the_settings_that_concern_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICE_STT_MODEL", "from the environment")
    environment = worker_environment(Settings(stt_model="base", stt_language="", model_dir=Path("/models")))
    assert environment["VOICE_STT_MODEL"] == "base"
    assert environment["VOICE_STT_LANGUAGE"] == ""
    assert environment["VOICE_MODEL_DIR"] == "/models"
    assert "VOICE_MODEL_LOCAL" not in environment
    assert not {"VOICE_STT_ADDRESS", "VOICE_TTS_ADDRESS", "VOICE_TTS_CA_FILE"} & environment.keys()
    assert "PATH" in environment


def test_a_worker_gets_no_secret_of_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICE_API_KEYS", "sesame")
    monkeypatch.setenv("VOICE_CONFIG", "/etc/voicefleet.toml")
    long = "sesame" * 8
    environment = worker_environment(
        Settings(api_keys="sesame", llm_api_key="sesame", token_secret=long, worker_token=long)
    )
    assert not [name for name, value in environment.items() if "sesame" in value or name == "VOICE_CONFIG"]
    assert "sesame" not in repr(speech_workers(Settings(), Path("/run")))
