"""Passes: good once, for a minute, and only so many of them."""

from server.access.auth import Principal
from server.access.passes import PASS_SECONDS, Passes

SOMEONE = Principal("vf_key", "key", hash="sha256:1")
NOW = 1000.0


def test_a_pass_stands_once_for_who_it_was_given_to() -> None:
    passes = Passes()
    given = passes.give(SOMEONE, NOW)
    assert passes.take(given, NOW + 1) == SOMEONE
    assert passes.take(given, NOW + 1) is None


def test_a_pass_is_worth_nothing_after_a_minute() -> None:
    passes = Passes()
    given = passes.give(SOMEONE, NOW)
    assert passes.take(given, NOW + PASS_SECONDS) is None


def test_what_is_no_pass_is_nobodys() -> None:
    passes = Passes()
    passes.give(SOMEONE, NOW)
    assert [passes.take(other, NOW) for other in (None, "", "vfp_other")] == [None, None, None]


def test_of_many_that_nobody_uses_the_oldest_go() -> None:
    passes = Passes()
    given = [passes.give(SOMEONE, NOW) for _ in range(300)]
    assert passes.take(given[0], NOW) is None
    assert passes.take(given[-1], NOW) == SOMEONE
