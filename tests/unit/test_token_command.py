"""`voicefleet token`: standard output is the credential, ready to pipe, and a node takes it."""

import os
import time

import jwt
import pytest
import typer
from typer.testing import CliRunner, Result

from server.access.auth import Authenticator, Principal
from server.cli.token import token

SECRET = "a-secret-of-more-than-thirty-two-bytes"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("VOICE_")]:
        monkeypatch.delenv(name)


def run(*arguments: str, **variables: str) -> Result:
    app = typer.Typer()
    app.command()(token)
    return CliRunner().invoke(app, arguments, env=variables)


def test_prints_a_token_that_a_node_takes() -> None:
    result = run("--subject", "web-42", "--ttl", "60", VOICE_TOKEN_SECRET=SECRET)
    assert result.exit_code == 0
    made = result.stdout.strip()
    assert Authenticator(frozenset(), SECRET).authenticate(made) == Principal("web-42", "token")
    claims = jwt.decode(made, SECRET, algorithms=["HS256"], audience="voicefleet")
    assert claims["exp"] - claims["iat"] == 60
    assert abs(claims["iat"] - time.time()) < 30
    assert "sessions" not in claims


def test_a_token_may_be_for_fewer_calls() -> None:
    made = run("--sessions", "1", VOICE_TOKEN_SECRET=SECRET).stdout.strip()
    assert Authenticator(frozenset(), SECRET).authenticate(made).sessions == 1


def test_prints_a_new_key_and_the_line_that_makes_a_node_take_it() -> None:
    result = run("--new-key")
    assert result.exit_code == 0
    key, line = result.stdout.splitlines()
    name, _, hashed = line.partition("=")
    assert name == "VOICE_API_KEYS"
    assert Authenticator(frozenset({hashed})).authenticate(key).kind == "key"


@pytest.mark.parametrize(
    ("arguments", "secret", "message"),
    [
        ([], None, "VOICE_TOKEN_SECRET: got nothing; takes the secret that the node has"),
        ([], "short", "VOICE_TOKEN_SECRET: got a value that is not shown; takes at least 32 bytes"),
        (["--ttl", "90000"], SECRET, "ttl: got 90000 seconds; takes more than 0 and at most 86400"),
        (["--ttl", "0"], SECRET, "ttl: got 0 seconds"),
        (["--subject", ""], SECRET, "subject: got 0 characters"),
        (["--config", "nowhere.toml"], SECRET, "config: got 'nowhere.toml', which can't be read"),
    ],
)
def test_what_is_wrong_is_said_on_stderr_with_exit_code_2(
    arguments: list[str], secret: str | None, message: str
) -> None:
    result = run(*arguments, **({"VOICE_TOKEN_SECRET": secret} if secret else {}))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(message)
