"""What an address says of where it leads, and what of it may be shown."""

import pytest

from server.addresses import without_secrets, without_user


@pytest.mark.parametrize(
    ("url", "user_gone", "shown"),
    [
        ("https://host/v1", "https://host/v1", "https://host/v1"),
        ("https://anna:tulip@host:80/v1", "https://host:80/v1", "https://host:80/v1"),
        ("https://anna@tulip@host/v1", "https://host/v1", "https://host/v1"),
        ("https://host/v1?key=tulip", "https://host/v1?key=tulip", "https://host/v1"),
        ("https://host?key=a@b", "https://host?key=a@b", "https://host"),
        ("https://host/v1/@a/b#tulip", "https://host/v1/@a/b#tulip", "https://host/v1/@a/b"),
        ("openai:a@b@https://anna:tulip@host/v1?x", "openai:a@b@https://host/v1?x", "openai:a@b@https://host/v1"),
        ("bedrock:us.amazon.nova-lite-v1:0",) * 3,
        ("local",) * 3,
    ],
)
def test_user_password_and_query_are_not_shown(url: str, user_gone: str, shown: str) -> None:
    assert without_user(url) == user_gone
    assert without_secrets(url) == shown
