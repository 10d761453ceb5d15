"""Settings: a wrong one is named with what it got and what it takes, and each source overrides those below it."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from server.settings.access import hash_api_key
from server.settings.loading import SettingsError, load_settings

SECRET = "s3cret" * 6


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of whoever runs the tests are none of theirs."""
    for name in [name for name in os.environ if name.upper().startswith("VOICE_")]:
        monkeypatch.delenv(name)


def toml(folder: Path, content: str) -> Path:
    path = folder / "node.toml"
    path.write_text(content, encoding="utf-8")
    return path


LLM_TAKES = (
    "'local', 'bedrock:MODEL_ID', 'bedrock:MODEL_ID@REGION' or 'openai:MODEL@URL', or several of these, comma-separated"
)


@pytest.mark.parametrize(
    ("name", "value", "takes"),
    [
        ("PORT", "x", "a whole number from 0 up to 65535"),
        ("PORT", "70000", "a whole number from 0 up to 65535"),
        ("PORT", "", "a whole number from 0 up to 65535"),
        ("HTTP_PORT", "-1", "a whole number from 0 up to 65535"),
        ("MAX_SESSIONS", "0", "a whole number from 1 up to 100000"),
        ("RETRY_AFTER_SECONDS", "1.5", "a whole number from 1 up to 3600"),
        ("MAX_MESSAGE_BYTES", "99999999999", "a whole number from 4096 up to 33554432"),
        ("AUDIO_RATE", "nan", "a number from 1 up to 1000"),
        ("AUDIO_BURST_SECONDS", "inf", "a number from 1 up to 3600"),
        ("DRAIN_SECONDS", "-1", "a number from 0"),
        ("SEND_AHEAD_SECONDS", "60", "a number from 0.1 up to 30"),
        ("SPECULATION", "tts", "'auto' or 'off' or 'stt' or 'full'"),
        ("LLM", "gpt", LLM_TAKES),
        ("LLM", "bedrock:", LLM_TAKES),
        ("LLM", "openai:m@ftp://host", LLM_TAKES),
        ("LLM_TIMEOUT_SECONDS", "0", "a number above 0 up to 120"),
        ("BEDROCK_LATENCY", "fast", "'standard' or 'optimized'"),
        ("BEDROCK_PROMPT_CACHE", "maybe", "true or false"),
        ("STT_MODEL", "", "text with a length from 1"),
        ("STT_DEVICE", "tpu", "'auto' or 'cpu' or 'cuda'"),
        ("STT_LANGUAGE", "English", "text matching ^([a-z]{2,3})?$"),
        ("TTS", "polly", "'hibari' or 'chatterbox'"),
        ("MODEL_S3", "my-bucket", r"text matching ^(s3://\S+)?$"),
        ("TWILIO_URL", "https://voice.example.com", "an address such as wss://voice.example.com/twilio"),
        ("LOG_LEVEL", "loud", "'debug' or 'info' or 'warning' or 'error'"),
    ],
)
def test_a_wrong_setting_is_named_with_what_it_got_and_what_it_takes(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, takes: str
) -> None:
    monkeypatch.setenv(f"VOICE_{name}", value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert str(refused.value) == f"VOICE_{name}: got {value!r}; takes {takes}"


def test_every_wrong_setting_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICE_PORT", "x")
    monkeypatch.setenv("VOICE_LLM", "y")
    with pytest.raises(SettingsError, match=r"(?s)VOICE_PORT: .*\nVOICE_LLM: "):
        load_settings()


def test_a_long_value_is_shown_in_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICE_STT_PROMPT", "name " * 200)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert str(refused.value).endswith("…; takes text with a length up to 800")
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"host": "0.0.0.0"}, "VOICE_HOST: got '0.0.0.0', which others can reach; takes a loopback address"),
        ({"host": "::"}, "VOICE_HOST: got '::'"),
        ({"host": "voice.example.com"}, "VOICE_HOST: got 'voice.example.com'"),
        ({"port": 9100, "http_port": 9100}, "VOICE_HTTP_PORT: got 9100, which is VOICE_PORT too; takes another port"),
        ({"tls_cert": Path("cert.pem")}, "VOICE_TLS_CERT and VOICE_TLS_KEY go together"),
        ({"tls_key": Path("key.pem")}, "VOICE_TLS_CERT and VOICE_TLS_KEY go together"),
        (
            {"tts_address": "localhost:1,speech.internal:50051", "worker_token": SECRET},
            "VOICE_TTS_ADDRESS: got 'speech.internal:50051', to which VOICE_WORKER_TOKEN would go unencrypted; takes",
        ),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(options: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(**options)
    assert str(refused.value).startswith(named)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_keys(host: str) -> None:
    assert not load_settings(host=host).needs_auth


@pytest.mark.parametrize("options", [{"api_keys": "one"}, {"token_secret": SECRET}])
def test_any_address_will_do_with_keys_or_a_secret(options: dict[str, Any]) -> None:
    assert load_settings(host="0.0.0.0", **options).needs_auth


def test_addresses_keep_their_order_and_one_is_a_list_too(tmp_path: Path) -> None:
    assert load_settings(tts_address="b:1, a:2,").tts_address == ("b:1", "a:2")
    assert load_settings(tts_address="unix:/run/tts.sock").tts_address == ("unix:/run/tts.sock",)
    assert load_settings(toml(tmp_path, "tts_address = ['b:1', 'a:2']")).tts_address == ("b:1", "a:2")
    assert load_settings().tts_address == ()


@pytest.mark.parametrize(
    "options",
    [
        {"tts_address": "unix:/run/tts.sock,127.0.0.1:50051,[::1]:50051,localhost:1", "worker_token": SECRET},
        {"tts_address": "10.0.0.7:50051", "worker_token": SECRET, "tts_ca_file": "ca.pem"},
        {"tts_address": "10.0.0.7:50051"},
    ],
    ids=["this machine", "TLS", "no token to lose"],
)
def test_the_workers_token_goes_where_nobody_else_reads_it(options: dict[str, Any]) -> None:
    assert SECRET not in repr(load_settings(**options))


def test_only_hashes_of_keys_are_kept() -> None:
    hashed = hash_api_key("second")
    settings = load_settings(api_keys=f"first, {hashed},,")
    assert settings.api_keys == {hash_api_key("first"), hashed}
    assert "first" not in repr(settings)


@pytest.mark.parametrize(
    ("options", "takes"),
    [
        (
            {"token_secret": "tooShortSecret"},
            "VOICE_TOKEN_SECRET: got a value that is not shown; takes at least 32 bytes",
        ),
        (
            {"api_keys": "sha256:TOOSHORTSECRET"},
            "VOICE_API_KEYS: got a value that is not shown; takes keys in plain, or",
        ),
        ({"api_keys": ["tooShortSecret", 7]}, "VOICE_API_KEYS: got a value that is not shown; takes a comma-separated"),
        (
            {"worker_token": "tooShortSecret"},
            "VOICE_WORKER_TOKEN: got a value that is not shown; takes at least 32 bytes",
        ),
        (
            {"llm_api_key": "tooShortSecret\n"},
            "VOICE_LLM_API_KEY: got a value that is not shown; takes letters, digits",
        ),
        ({"llm_api_key": ["tooShortSecret"]}, "VOICE_LLM_API_KEY: got a value that is not shown; takes a secret"),
    ],
)
def test_a_wrong_secret_is_not_shown(options: dict[str, Any], takes: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(**options)
    assert str(refused.value).startswith(takes)
    assert "tooshortsecret" not in str(refused.value).lower()
    assert refused.value.__cause__ is None


def test_a_good_secret_is_not_shown_either() -> None:
    settings = load_settings(token_secret=SECRET, llm_api_key="sk-1234")
    assert settings.token_secret is not None
    assert settings.token_secret.get_secret_value() == SECRET
    assert SECRET not in repr(settings)
    assert "sk-1234" not in repr(settings)


def test_a_user_in_the_models_url_and_a_key_are_one_too_many() -> None:
    with pytest.raises(SettingsError, match=r"^VOICE_LLM and VOICE_LLM_API_KEY: .*takes either .*$") as refused:
        load_settings(llm="openai:m@https://anna:tulip@host/v1", llm_api_key="sk-1234")
    assert not re.search("anna|tulip|sk-1234", str(refused.value))
    assert load_settings(llm="openai:m@https://anna:tulip@host/v1").llm_api_key is None
    assert load_settings(llm="openai:a@b@https://host/v1", llm_api_key="sk-1234").llm_api_key is not None
    assert load_settings(llm="openai:m@https://anna:tulip@host/v1", llm_api_key="").llm_api_key is not None


@pytest.mark.parametrize(
    "url",
    ["https://", "https://:80/v1", "https://host:port/v1", "https://host:99999/v1", "https://[::1/v1", "http://u@"],
)
def test_an_address_that_leads_nowhere_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^VOICE_LLM: got .*; takes 'local', 'bedrock:MODEL_ID', "):
        load_settings(llm=f"openai:m@{url}")


@pytest.mark.parametrize(
    "llm", ["openai:m@https://anna:tulip@host:x/v1", "openai:https://anna:tu/l@ip@host/v1 ", "https://anna:tulip@host"]
)
def test_a_user_in_a_wrong_url_is_not_shown(llm: str) -> None:
    with pytest.raises(SettingsError, match="VOICE_LLM: got ") as refused:
        load_settings(llm=llm)
    assert not re.search("anna|tu/l|tulip", str(refused.value))


def test_both_ports_may_be_any_that_is_free() -> None:
    assert load_settings(port=0, http_port=0).port == 0


def test_the_command_line_overrides_a_variable_and_that_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = toml(tmp_path, "port = 1\nhttp_port = 1\nmax_sessions = 1\nallowed_origins = ['https://a', 'https://b']\n")
    monkeypatch.setenv("VOICE_PORT", "2")
    monkeypatch.setenv("VOICE_HTTP_PORT", "2")
    settings = load_settings(path, port=3, log_level=None)
    assert (settings.port, settings.http_port, settings.max_sessions) == (3, 2, 1)
    assert settings.allowed_origins == {"https://a", "https://b"}
    assert settings.log_level == "info"


def test_a_variable_may_name_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VOICE_CONFIG", str(toml(tmp_path, "port = 1234")))
    assert load_settings().port == 1234


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("port = ", "which is not TOML"),
        ("porto = 9000", "porto: no such setting"),
        ("port = 'x'", "VOICE_PORT: got 'x'; takes a whole number"),
        ("[llm]\nmodel = 'm'", "VOICE_LLM: got {'model': 'm'}; takes a comma-separated list"),
        ("token_secret = 'tooShortSecret'", "VOICE_TOKEN_SECRET: got a value that is not shown"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, content: str, named: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(toml(tmp_path, content))
    assert named in str(refused.value)
    assert "tooShortSecret" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"config: got '.*nowhere.toml', which can't be read \(No such file"):
        load_settings(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("name", "suggests"),
    [
        ("VOICE_PROT", "did you mean VOICE_PORT? "),
        ("VOICE_MAX_SESION", "did you mean VOICE_MAX_SESSIONS? "),
        ("VOICE_API_KEY", "did you mean VOICE_API_KEYS? "),
        ("VOICE_CONFIGS", "did you mean VOICE_CONFIG? "),
        ("VOICE_QUIETLY", ""),
    ],
)
def test_a_misspelled_variable_is_told_the_nearest_and_where_all_are(
    monkeypatch: pytest.MonkeyPatch, name: str, suggests: str
) -> None:
    monkeypatch.setenv(name, "x")
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert str(refused.value) == f"{name}: no such setting; {suggests}docs/settings.md lists them all"


@pytest.mark.parametrize(
    ("key", "suggests"),
    [("porto", "did you mean port? "), ("VOICE_PORT", "did you mean port? "), ("colour", ""), ("config", "")],
)
def test_a_misspelled_line_is_told_the_nearest_as_a_file_has_it(tmp_path: Path, key: str, suggests: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(toml(tmp_path, f"{key} = 'x'"))
    assert str(refused.value) == f"{key}: no such setting; {suggests}docs/settings.md lists them all"


def test_a_misspelled_variable_is_refused_and_its_value_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICE_TOKEN_SECRETE", SECRET)
    monkeypatch.setenv("VOICE_PROT", "9000")
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert [line.partition(":")[0] for line in str(refused.value).splitlines()] == ["VOICE_PROT", "VOICE_TOKEN_SECRETE"]
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "cores", "begins"),
    [
        ({}, 1, "stt"),
        ({}, 2, "full"),
        ({"llm": "openai:m@http://127.0.0.1:8000/v1"}, 1, "full"),
        ({"speculation": "full"}, 1, "full"),
        ({"speculation": "off"}, 2, "off"),
    ],
)
def test_answers_begin_early_where_the_machine_has_room_for_it_or_as_is_set(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], cores: int, begins: str
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    assert load_settings(**options).effective_speculation == begins
