"""Client secrets: what opens them, whose they are, and for how long."""

from typing import Any

import pytest

from server.access.auth import InvalidCredentials, Principal, mint_token
from server.access.client_secrets import ClientSecrets, SessionTooLarge
from server.access.entrance import Caller, Entrance
from server.access.ticket_errors import TicketRefused
from server.access.tickets import TicketKeys
from server.settings.access import hash_api_key
from server.settings.loading import load_settings
from server.settings.settings import Settings

SECRET, OTHER = "a secret that is long enough for anyone", "another secret, which is no shorter"
KEY = "vf_app.0123456789"
NOW, LATER = 1_800_000_000.0, 1_800_000_600
FAR = 4_000_000_000  # seconds since 1970
APP = Principal("vf_app", "key", hash=hash_api_key(KEY))
USER = Principal("web", "token", expires_at=NOW + 60, sessions=2, hash=hash_api_key(SECRET))


def settings(**changed: Any) -> Settings:
    return load_settings(**{"api_keys": KEY, "token_secret": SECRET} | changed)


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


def refusal(entrance: Entrance, credential: str) -> str:
    with pytest.raises(InvalidCredentials) as refused:
        entrance.identify(bearer(credential))
    return refused.value.reason


@pytest.mark.parametrize("principal", [APP, USER, None])
def test_a_secret_holds_its_principal_and_its_session(principal: Principal | None) -> None:
    secret = ClientSecrets([SECRET]).make(principal, b'{"type":"realtime"}', LATER)
    content = ClientSecrets([SECRET]).open(secret, NOW)
    assert (content.principal, bytes(content.session)) == (principal, b'{"type":"realtime"}')
    if principal and content.principal:
        facts = ("expires_at", "sessions", "hash")
        assert [getattr(content.principal, fact) for fact in facts] == [getattr(principal, fact) for fact in facts]


def test_a_secret_ends_to_the_second() -> None:
    secrets = ClientSecrets([SECRET])
    secret = secrets.make(APP, b"{}", LATER)
    assert secrets.open(secret, LATER - 0.1)
    with pytest.raises(InvalidCredentials, match="expired"):
        secrets.open(secret, LATER)


def test_any_node_with_the_secret_opens_it_and_no_other() -> None:
    secret = ClientSecrets([SECRET]).make(APP, b"{}", LATER)
    assert ClientSecrets([OTHER, SECRET]).open(secret, NOW)
    for wrong in (secret[:-1], secret.replace("ek_", "ek_A"), "ek_"):
        with pytest.raises(InvalidCredentials, match="not signed"):
            ClientSecrets([SECRET]).open(wrong, NOW)
    with pytest.raises(InvalidCredentials, match="not signed"):
        ClientSecrets([OTHER]).open(secret, NOW)


def test_a_secret_is_no_ticket() -> None:
    secret = ClientSecrets([SECRET]).make(APP, b"{}", LATER)
    with pytest.raises(TicketRefused):
        TicketKeys([SECRET]).open(secret.removeprefix("ek_"), APP, NOW, 60.0)


def test_a_session_that_no_header_holds_is_refused() -> None:
    assert ClientSecrets([SECRET]).make(APP, b'"' + b"Be brief. " * 10_000 + b'"', LATER)
    text = "".join(hash_api_key(str(number))[7:] for number in range(200))
    with pytest.raises(SessionTooLarge, match="7,000"):
        ClientSecrets([SECRET]).make(APP, f'"{text}"'.encode(), LATER)


# --- at the entrance


def test_its_holder_is_let_in_as_whom_it_was_made_for() -> None:
    entrance = Entrance(settings())
    secret = entrance.client_secrets.make(APP, b"{}", FAR)
    assert entrance.identify(bearer(secret)) == Caller(APP, b"{}")
    assert entrance.identify({}, ["realtime", f"openai-insecure-api-key.{secret}"]) == Caller(APP, b"{}")
    assert entrance.identify(bearer(KEY)) == Caller(APP)


def test_a_secret_ends_with_the_key_that_it_was_made_with() -> None:
    entrance = Entrance(settings())
    secret = entrance.client_secrets.make(APP, b"{}", FAR)
    entrance.take_keys(settings(api_keys="vf_new.0123456789"))
    assert refusal(entrance, secret) == "unknown_key"


def test_a_secret_outlives_the_change_of_the_fleets_secret_as_tokens_do() -> None:
    entrance = Entrance(settings())
    secret = entrance.client_secrets.make(APP, b"{}", FAR)
    entrance.take_keys(settings(token_secret=OTHER, other_token_secret=SECRET))
    assert entrance.identify(bearer(secret)).principal == APP
    entrance.take_keys(settings(token_secret=OTHER))
    assert refusal(entrance, secret) == "bad_signature"


def test_where_nobody_shows_a_credential_a_secret_still_brings_its_session() -> None:
    entrance = Entrance(load_settings())
    secret = entrance.client_secrets.make(None, b"{}", FAR)
    assert entrance.identify(bearer(secret)) == Caller(None, b"{}")
    assert entrance.identify(bearer("anything")) == Caller()
    assert refusal(entrance, "ek_" + "A" * 40) == "bad_signature"


def test_what_a_node_without_keys_made_lets_nobody_in_where_there_are_keys() -> None:
    secret = ClientSecrets([SECRET]).make(None, b"{}", FAR)
    assert refusal(Entrance(settings()), secret) == "unknown_key"


def test_a_token_is_no_secret() -> None:
    token = mint_token(SECRET, "web", 60, NOW)
    with pytest.raises(InvalidCredentials):
        ClientSecrets([SECRET]).open(token, NOW)
