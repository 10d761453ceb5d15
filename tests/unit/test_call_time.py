"""When a call ends: a warning a minute before, a goodbye once nobody speaks, the end once it has been heard."""

import pytest

from server.access.call_time import (
    GOODBYE_SECONDS,
    WARNING_SECONDS,
    CallTime,
    EndReason,
    Expiring,
    Over,
    SayGoodbye,
)

START = 1000.0
HOUR = 3600.0


def longest_call(longest: float = HOUR) -> CallTime:
    return CallTime(START, longest, idle=0.0)


def test_a_call_without_limits_goes_on() -> None:
    limits = CallTime(START, longest=0.0, idle=0.0)
    assert limits.due(START + 1_000_000, at_rest=True) is None


@pytest.mark.parametrize(
    ("limits", "reason", "end"),
    [
        (longest_call(), "longest_call", START + HOUR),
        (CallTime(START, 0.0, 600.0), "idle", START + 600),
        (CallTime(START, 0.0, 0.0, START + 300), "credential_expired", START + 300),
        (CallTime(START, HOUR, 600.0, START + 300), "credential_expired", START + 300),
    ],
)
def test_a_call_is_warned_once_says_goodbye_and_ends(limits: CallTime, reason: EndReason, end: float) -> None:
    assert limits.due(end - WARNING_SECONDS - 1, at_rest=True) is None
    assert limits.due(end - WARNING_SECONDS, at_rest=True) == Expiring(reason, WARNING_SECONDS)
    assert limits.due(end - WARNING_SECONDS + 1, at_rest=True) is None
    assert limits.due(end, at_rest=True) == SayGoodbye(reason)
    assert limits.due(end + 1, at_rest=False) is None  # the goodbye is being spoken
    assert limits.due(end + 2, at_rest=True) == Over(reason)


@pytest.mark.parametrize(
    ("limits", "expires_at"),
    [
        (CallTime(START, 0.0, 600.0, epoch=1e9), None),
        (CallTime(START, HOUR, 600.0, epoch=1e9), 1_000_000_000 + START + HOUR),
        (CallTime(START, HOUR, 0.0, START + 300, epoch=1e9), 1_000_000_000 + START + 300),
    ],
)
def test_it_is_known_when_a_call_ends_at_the_latest(limits: CallTime, expires_at: int | None) -> None:
    assert limits.expires_at == expires_at


def test_a_call_that_goes_on_here_ends_as_it_would_have_there() -> None:
    limits = longest_call()
    limits.has_lasted(600.0, START + 10)
    assert limits.expires_at == START + HOUR - 590


def test_a_limit_of_a_few_seconds_warns_half_way() -> None:
    limits = CallTime(START, 0.0, idle=10.0)
    assert limits.due(START + 4, at_rest=True) is None
    limits.active(START + 4)
    assert limits.due(START + 8, at_rest=True) is None
    assert limits.due(START + 9, at_rest=True) == Expiring("idle", 5.0)


def test_the_goodbye_waits_for_whoever_speaks_but_not_for_ever() -> None:
    limits, end = longest_call(), START + HOUR
    assert limits.due(end + 5, at_rest=False) is None
    assert limits.due(end + 6, at_rest=True) == SayGoodbye("longest_call")
    talkative = longest_call()
    assert talkative.due(end + GOODBYE_SECONDS, at_rest=False) == Over("longest_call")


def test_a_goodbye_that_does_not_end_is_cut() -> None:
    limits, end = longest_call(), START + HOUR
    assert limits.due(end, at_rest=True) == SayGoodbye("longest_call")
    assert limits.due(end + GOODBYE_SECONDS - 1, at_rest=False) is None
    assert limits.due(end + GOODBYE_SECONDS, at_rest=False) == Over("longest_call")


def test_whoever_comes_back_in_the_middle_of_the_goodbye_keeps_an_idle_call() -> None:
    limits = CallTime(START, 0.0, idle=600.0)
    assert limits.due(START + 600, at_rest=True) == SayGoodbye("idle")
    limits.active(START + 601)
    assert limits.due(START + 602, at_rest=True) is None
    assert limits.due(START + 1201, at_rest=True) == SayGoodbye("idle")


def test_activity_does_not_stretch_the_longest_call() -> None:
    limits = CallTime(START, HOUR, idle=600.0)
    for minute in range(61):
        limits.active(START + 60 * minute)
    assert limits.due(START + HOUR, at_rest=True) == SayGoodbye("longest_call")


def test_a_revoked_credential_ends_the_call_at_once_with_a_goodbye() -> None:
    limits = longest_call()
    limits.revoke(START + 10)
    assert limits.due(START + 10, at_rest=True) == SayGoodbye("credential_revoked")
    limits.revoke(START + 15)  # a second look at the keys changes nothing
    assert limits.due(START + 10 + GOODBYE_SECONDS, at_rest=False) == Over("credential_revoked")


def test_a_call_that_began_on_another_connection_has_lasted_longer() -> None:
    limits = longest_call()
    limits.has_lasted(HOUR - 200, START)
    assert limits.due(START + 200 - WARNING_SECONDS, at_rest=True) == Expiring("longest_call", WARNING_SECONDS)
    assert limits.due(START + 200, at_rest=True) == SayGoodbye("longest_call")
    endless = CallTime(START, longest=0.0, idle=0.0)
    endless.has_lasted(HOUR, START)
    assert endless.due(START + 1_000_000, at_rest=True) is None
