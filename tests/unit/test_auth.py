"""Credentials: which are let in, as whom, and what the others are told. No message holds the credential itself."""

import base64
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jwt
import pytest
from websockets.datastructures import Headers

from server.access.auth import (
    Authenticator,
    InvalidCredentials,
    Principal,
    TokenRefused,
    credential_from,
    mint_token,
    new_api_key,
)
from server.errors import VoicefleetError
from server.settings.access import hash_api_key

SECRET = "a-secret-of-more-than-thirty-two-bytes"
KEY = "shop.3fQ9xw7Zk1"
PLAIN_KEY = "correct-horse-battery-staple"
HASHES = frozenset({hash_api_key(KEY), hash_api_key(PLAIN_KEY)})
AUTH = Authenticator(HASHES, SECRET)


def token(secret: str = SECRET, algorithm: str = "HS256", leave_out: str = "", **claims: Any) -> str:
    now = int(time.time())
    made = {"sub": "web-42", "aud": "voicefleet", "iat": now, "exp": now + 300} | claims
    made.pop(leave_out, None)
    return jwt.encode(made, secret, algorithm=algorithm)


def unsigned_token() -> str:
    claims = {"sub": "web-42", "aud": "voicefleet", "exp": int(time.time()) + 300}
    parts = [json.dumps(part).encode() for part in ({"alg": "none", "typ": "JWT"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + "."


def tampered_token() -> str:
    head, _, signature = token().split(".")
    claims = base64.urlsafe_b64encode(json.dumps({"sub": "admin", "aud": "voicefleet", "exp": 2**33}).encode())
    return f"{head}.{claims.rstrip(b'=').decode()}.{signature}"


@pytest.mark.parametrize(
    ("make", "principal"),
    [
        (lambda: KEY, Principal("shop", "key")),
        (lambda: PLAIN_KEY, Principal(hash_api_key(PLAIN_KEY).removeprefix("sha256:")[:8], "key")),
        (token, Principal("web-42", "token")),
        (lambda: token(leave_out="iat"), Principal("web-42", "token")),
        (lambda: token(aud=["other", "voicefleet"]), Principal("web-42", "token")),
        (lambda: token(exp=int(time.time()) - 40), Principal("web-42", "token")),  # a clock 40 s apart
        (lambda: token(iat=int(time.time()) + 40), Principal("web-42", "token")),
        (lambda: token(iat=int(time.time()), exp=int(time.time()) + 86_400), Principal("web-42", "token")),
        (lambda: mint_token(SECRET, "phone", 60, time.time()), Principal("phone", "token")),
    ],
)
def test_lets_in_those_it_knows(make: Callable[[], str], principal: Principal) -> None:
    assert AUTH.authenticate(make()) == principal


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: None, "missing"),
        (lambda: "", "missing"),
        (lambda: "no-such-key", "unknown_key"),
        (lambda: f"{KEY} ", "unknown_key"),
        (KEY.upper, "unknown_key"),
        (lambda: "shop.wrong", "unknown_key"),
        (lambda: hash_api_key(KEY), "unknown_key"),  # the stored hash is no way in
        (lambda: "clé", "malformed"),
        (lambda: "\udcff", "malformed"),  # a raw byte, as the WebSocket library hands it on
        (lambda: "a.b.c", "malformed"),
        (lambda: token(secret=SECRET[::-1]), "bad_signature"),
        (tampered_token, "bad_signature"),
        (unsigned_token, "malformed"),
        (lambda: token(secret=SECRET * 2, algorithm="HS512"), "malformed"),
        (lambda: token(leave_out="exp"), "malformed"),
        (lambda: token(leave_out="aud"), "malformed"),
        (lambda: token(leave_out="sub"), "malformed"),
        (lambda: token(sub=""), "malformed"),
        (lambda: token(sub="s" * 129), "malformed"),
        (lambda: token(exp="soon"), "malformed"),
        (lambda: token(exp=10**400), "malformed"),
        (lambda: token(iat=int(time.time()) + 600), "malformed"),
        (lambda: token(exp=int(time.time()) + 86_500), "malformed"),
        (lambda: token(leave_out="iat", exp=int(time.time()) + 86_500), "malformed"),
        (lambda: token(exp=int(time.time()) - 61), "expired"),
        (lambda: mint_token(SECRET, "web-42", 300, time.time() - 400), "expired"),
        (lambda: token(aud="someone-else"), "wrong_audience"),
    ],
)
def test_refuses_the_others_and_says_why_without_the_credential(make: Callable[[], str | None], reason: str) -> None:
    credential = make()  # made now and not when tests are collected: tokens age
    with pytest.raises(InvalidCredentials) as refused:
        AUTH.authenticate(credential)
    assert refused.value.reason == reason
    assert not credential or credential not in str(refused.value)
    assert refused.value.__cause__ is None
    assert isinstance(refused.value, VoicefleetError)


def test_without_a_signing_secret_a_token_is_just_an_unknown_key() -> None:
    with pytest.raises(InvalidCredentials) as refused:
        Authenticator(HASHES).authenticate(token())
    assert refused.value.reason == "unknown_key"


@pytest.mark.parametrize("credential", [None, "", "anything"])
def test_a_node_that_asks_for_nothing_calls_everyone_local(credential: str | None) -> None:
    assert Authenticator(frozenset()).authenticate(credential) == Principal("local", "local")


@pytest.mark.parametrize(
    ("headers", "subprotocols", "credential"),
    [
        ({}, [], None),
        ({"Authorization": "Bearer k1"}, [], "k1"),
        ({"authorization": "bearer  k1 "}, [], "k1"),
        ({"api-key": "k2"}, [], "k2"),
        ({"API-Key": "k2"}, ["realtime"], "k2"),
        ({}, ["realtime", "openai-insecure-api-key.k.3"], "k.3"),
        ({"Authorization": "Bearer k1", "api-key": "k2"}, ["openai-insecure-api-key.k3"], "k1"),
        ({"Authorization": "Bearer "}, ["openai-insecure-api-key.k3"], "k3"),
        ({"Authorization": "Basic azE6"}, [], None),
        ({"X-Api-Key": "k2"}, ["openai-insecure-api-key"], None),
    ],
)
def test_finds_the_credential_of_a_handshake(
    headers: Mapping[str, str], subprotocols: Sequence[str], credential: str | None
) -> None:
    assert credential_from(Headers(headers), subprotocols) == credential


@pytest.mark.parametrize("name", ["Authorization", "api-key"])
def test_a_credential_sent_twice_is_refused(name: str) -> None:
    headers = Headers([(name, "Bearer k1"), (name, "Bearer k2")])
    with pytest.raises(InvalidCredentials) as refused:
        credential_from(headers, [])
    assert refused.value.reason == "malformed"


def test_a_new_key_works_is_long_enough_and_is_never_the_same() -> None:
    key, hashed = new_api_key()
    assert hashed == hash_api_key(key)
    name, secret = key.split(".")
    assert name.startswith("vf_")
    assert len(base64.urlsafe_b64decode(secret + "=")) == 32
    assert Authenticator(frozenset({hashed})).authenticate(key) == Principal(name, "key")
    assert new_api_key()[0] != key


@pytest.mark.parametrize(
    ("subject", "ttl", "message"),
    [
        ("x", 0, "ttl: got 0 seconds; takes more than 0 and at most 86400"),
        ("x", 86_401, "ttl: got 86401 seconds"),
        ("x", float("nan"), "ttl: got nan seconds"),
        ("", 60, "subject: got 0 characters; takes 1 to 128"),
        ("x" * 129, 60, "subject: got 129 characters"),
    ],
)
def test_a_token_that_no_node_would_take_is_not_made(subject: str, ttl: float, message: str) -> None:
    with pytest.raises(TokenRefused, match=message):
        mint_token(SECRET, subject, ttl, 0)


def test_what_a_credential_grants_comes_with_the_principal_and_makes_nobody_another() -> None:
    expires = int(time.time()) + 60
    principal = AUTH.authenticate(token(exp=expires, sessions=2))
    assert (principal.expires_at, principal.sessions) == (expires, 2)
    assert principal == AUTH.authenticate(token())
    assert AUTH.authenticate(KEY).expires_at is None


@pytest.mark.parametrize("sessions", [-1, 1.5, "2", True, None, [1]])
def test_a_token_with_a_number_of_calls_that_is_none_is_refused(sessions: Any) -> None:
    with pytest.raises(InvalidCredentials) as refused:
        AUTH.authenticate(token(sessions=sessions))
    assert refused.value.reason == "malformed"


def test_a_withdrawn_key_or_secret_is_not_accepted_any_more() -> None:
    by_key, by_token = AUTH.authenticate(KEY), AUTH.authenticate(token())
    assert AUTH.still_accepts(by_key)
    assert AUTH.still_accepts(by_token)
    without_key = Authenticator(frozenset({hash_api_key(PLAIN_KEY)}), SECRET)
    assert not without_key.still_accepts(by_key)
    assert without_key.still_accepts(by_token)
    other_secret = Authenticator(HASHES, SECRET[::-1])
    assert other_secret.still_accepts(by_key)
    assert not other_secret.still_accepts(by_token)
    assert not Authenticator(HASHES).still_accepts(by_token)


def test_tokens_of_two_secrets_are_accepted_while_one_replaces_the_other() -> None:
    both = Authenticator(HASHES, SECRET[::-1], SECRET)
    assert both.authenticate(token()) == AUTH.authenticate(token())
    assert both.still_accepts(AUTH.authenticate(token()))
    with pytest.raises(InvalidCredentials, match="not signed with"):
        Authenticator(HASHES, SECRET[::-1], SECRET.swapcase()).authenticate(token())
