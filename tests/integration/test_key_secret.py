"""API keys from Secrets Manager."""

import asyncio
import json
from collections.abc import Iterator
from functools import partial

import boto3
import pytest
from moto import mock_aws
from structlog.testing import capture_logs

from server.access.auth import new_api_key
from server.access.key_secret import follow_keys, with_keys
from server.models.store import ModelStore
from server.node import node as node_module
from server.settings.access import hash_api_key
from server.settings.loading import SettingsError
from server.settings.secrets import secret_settings
from server.settings.settings import Settings
from tests.support.live_call import live_call, refusal

TOKEN_SECRET = "0123456789abcdef" * 4
SETTINGS = Settings.model_validate({"keys_secret": "keys", "host": "0.0.0.0"})


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An AWS account in this process, without secrets."""
    for name, value in {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        yield


def keep(content: str) -> None:
    """Put it into the secret, which may be there already."""
    client = boto3.client("secretsmanager", region_name="us-east-1")
    try:
        client.create_secret(Name="keys", SecretString=content)
    except client.exceptions.ResourceExistsException:
        client.put_secret_value(SecretId="keys", SecretString=content)


def test_keys_and_token_secret_become_settings() -> None:
    key, hashed = new_api_key()
    keep(json.dumps({"api_keys": f"{hashed}, {key}", "token_secret": TOKEN_SECRET}))

    settings = with_keys(SETTINGS)

    assert settings.api_keys == {hashed}
    assert settings.token_secret is not None
    assert settings.token_secret.get_secret_value() == TOKEN_SECRET
    assert settings.host == SETTINGS.host


@pytest.mark.parametrize("name", sorted(secret_settings(Settings) - {"api_keys"}))
def test_every_other_secret_of_a_node_may_lie_there_too(name: str) -> None:
    value = "0123456789abcdef" * 2
    keep(json.dumps({"api_keys": "k", name: value}))

    assert getattr(with_keys(SETTINGS), name).get_secret_value() == value


def test_a_model_key_that_the_secret_does_not_hold_stays_as_it_was_given() -> None:
    keep(json.dumps({"api_keys": "k", "token_secret": "", "llm_api_key": ""}))
    given = Settings.model_validate(SETTINGS.model_dump() | {"llm_api_key": "mine", "token_secret": TOKEN_SECRET})

    settings = with_keys(given)

    assert settings.llm_api_key == given.llm_api_key
    assert settings.token_secret is None


def test_a_secret_that_does_not_fit_the_other_settings_is_refused() -> None:
    keep(json.dumps({"api_keys": "k", "worker_token": TOKEN_SECRET}))
    remote = Settings.model_validate(SETTINGS.model_dump() | {"tts_address": "tts.example:50051"})

    with pytest.raises(SettingsError, match=r"VOICE_TTS_ADDRESS: got .*, to which VOICE_WORKER_TOKEN"):
        with_keys(remote)


@pytest.mark.parametrize(
    "content", [{"api_keys": "", "token_secret": TOKEN_SECRET}, {"api_keys": "k", "token_secret": ""}]
)
def test_one_of_them_is_enough(content: dict[str, str]) -> None:
    keep(json.dumps(content))

    settings = with_keys(SETTINGS)

    assert bool(settings.api_keys) == bool(content["api_keys"])
    assert (settings.token_secret is not None) == bool(content["token_secret"])


def test_without_such_a_secret_nothing_is_asked_for() -> None:
    settings = Settings.model_validate({})

    assert with_keys(settings) is settings


def test_a_secret_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match=r"VOICE_KEYS_SECRET: got 'keys': .*ResourceNotFoundException.*; takes a"):
        with_keys(SETTINGS)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("api_keys=hush", "is not JSON"),
        ('["hush"]', "is not JSON of names"),
        pytest.param("[" * 100_000, "is not JSON of names", id="deep"),
        ('{"api_key": "hush"}', "holds api_key; takes"),
        ('{"api_keys": "k", "host": "hush"}', "holds host; takes"),
        ('{"api_keys": "", "token_secret": ""}', "holds neither"),
        ('{"llm_api_key": "hush"}', "holds neither"),
        ('{"api_keys": "sha256:hush"}', "VOICE_API_KEYS: got a value that is not shown; takes keys in plain"),
        ('{"api_keys": {"hush": "hush"}}', "VOICE_API_KEYS: got a value that is not shown; takes"),
        ('{"api_keys": "k", "llm_api_key": ["hush"]}', "VOICE_LLM_API_KEY: got a value that is not shown; takes"),
        ('{"token_secret": "hush"}', "VOICE_TOKEN_SECRET: got a value that is not shown; takes at least 32 bytes"),
    ],
)
def test_a_secret_with_something_else_in_it_is_refused_and_never_shown(content: str, fault: str) -> None:
    keep(content)

    with pytest.raises(SettingsError, match=fault) as refused:
        with_keys(SETTINGS)
    assert "hush" not in str(refused.value)


async def test_a_changed_key_is_taken_while_the_node_runs_and_a_broken_secret_changes_nothing() -> None:
    keep(json.dumps({"api_keys": "old"}))
    before = with_keys(SETTINGS)
    taken: asyncio.Queue[Settings] = asyncio.Queue()
    following = asyncio.create_task(follow_keys(before, taken.put_nowait, every_seconds=0.01))
    try:
        with capture_logs() as lines:
            keep("broken")
            while "keys_not_read" not in {line["event"] for line in lines}:  # noqa: ASYNC110  # logged by the task
                await asyncio.sleep(0.01)
            keep(json.dumps({"api_keys": "new"}))
            async with asyncio.timeout(10):
                after = await taken.get()
    finally:
        following.cancel()
    assert (before.api_keys, after.api_keys) == (frozenset([hash_api_key("old")]), frozenset([hash_api_key("new")]))
    assert taken.empty()
    assert "new" not in str([line for line in lines if line["event"] == "keys_changed"])


async def test_a_call_whose_key_is_withdrawn_says_goodbye_and_ends_and_the_others_go_on(
    quick: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_module, "follow_keys", partial(follow_keys, every_seconds=0.05))
    monkeypatch.setattr(node_module, "_mind_the_time", lambda: None)  # which is for a process of its own
    keep(json.dumps({"api_keys": "leaked,good"}))
    addresses = {name.removeprefix("VOICE_").lower(): value for name, value in quick.items()}
    settings = with_keys(Settings.model_validate({**addresses, "keys_secret": "keys", "port": 0, "http_port": 0}))
    leaked, good = ({"Authorization": f"Bearer {key}"} for key in ("leaked", "good"))
    async with (
        node_module.Node(settings, ModelStore.from_settings(settings)).running() as node,
        live_call(node.websocket, additional_headers=good) as other,
        live_call(node.websocket, additional_headers=leaked) as call,
    ):
        keep(json.dumps({"api_keys": "good"}))
        assert await call.closed() == 1000
        assert call.connection.close_reason == "credential_revoked"
        assert "response.output_audio.delta" in [event["type"] for event in call.events]
        assert (await refusal(node.websocket, headers=leaked)).status_code == 401
        assert await other.ask("ping") == "You said: ping"
