"""How much silence is waited for, and why."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.conversation.turn_policy import CURVES, Eagerness, Evidence, patience, probability_of_end
from server.conversation.turn_words import Ending

EAGERNESS: list[Eagerness] = ["low", "medium", "high"]
ENDINGS: list[Ending | None] = [None, "none", "open", "spelling", "plain"]
evidence = st.builds(
    Evidence,
    st.none() | st.floats(0.0, 1.0),
    st.sampled_from(ENDINGS),
    st.integers(0, 2),
    st.floats(0.0, 10.0, allow_nan=False),
    st.none() | st.floats(-20.0, 40.0),
)


@pytest.mark.parametrize(
    ("known", "reason", "shortest", "longest"),
    [
        (Evidence(), "unjudged", 1.0, 1.0),
        (Evidence(0.99), "unjudged", 1.0, 1.0),  # the model can't be asked without words, so waiting costs nothing
        (Evidence(None, "none"), "no_words", 1.0, 1.0),
        (Evidence(0.99, "none"), "no_words", 1.0, 1.0),
        (Evidence(0.1, "none"), "no_words", 1.0, 1.0),
        (Evidence(None, "plain"), "unjudged", 0.6, 0.6),
        (Evidence(0.99, "plain"), "finished", 0.35, 0.35),
        (Evidence(0.5, "plain"), "unsure", 1.0, 1.2),
        (Evidence(0.02, "plain"), "unfinished", 2.0, 4.0),
        (Evidence(0.99, "plain", 1), "finished", 0.35, 0.4),
        (Evidence(0.97, "plain", 1), "unsure", 0.5, 0.7),
        (Evidence(0.97, "plain", 2), "unfinished", 2.0, 2.3),
        (Evidence(0.97, "plain", 2, fall=6.0), "unsure", 0.6, 0.8),
        (Evidence(0.97, "plain", fall=0.0), "unsure", 0.4, 0.6),
        (Evidence(0.3, "plain", fall=9.0), "finished", 0.35, 0.38),
        (Evidence(0.5, "open"), "unfinished", 2.0, 4.0),
        (Evidence(None, "open"), "unfinished", 2.0, 4.0),
        (Evidence(0.99, "spelling"), "spelling", 1.6, 1.6),
        (Evidence(0.02, "spelling"), "spelling", 1.6, 1.6),
    ],
)
def test_what_is_known_decides_how_long_to_wait(known: Evidence, reason: str, shortest: float, longest: float) -> None:
    waited = patience(known, "medium")
    assert waited.reason == reason
    assert shortest - 1e-9 <= waited.seconds <= longest + 1e-9


@given(evidence, st.sampled_from(EAGERNESS))
def test_no_turn_waits_longer_than_its_ceiling_or_ends_without_a_moment_of_silence(
    known: Evidence, eagerness: Eagerness
) -> None:
    curve = CURVES[eagerness]
    assert curve.shortest - 1e-9 <= patience(known, eagerness).seconds <= curve.longest + 1e-9


@given(evidence)
def test_the_more_eager_the_sooner(known: Evidence) -> None:
    low, medium, high = (patience(known, eagerness).seconds for eagerness in EAGERNESS)
    assert high <= medium + 1e-9
    assert medium <= low + 1e-9


@given(st.sampled_from(ENDINGS), st.floats(0.0, 10.0), st.sampled_from(EAGERNESS))
def test_the_more_finished_it_sounds_the_sooner(ending: Ending | None, own_pause: float, eagerness: Eagerness) -> None:
    waits = [patience(Evidence(sound / 20, ending, 0, own_pause), eagerness).seconds for sound in range(21)]
    assert all(later <= sooner + 1e-9 for sooner, later in itertools.pairwise(waits))


@pytest.mark.parametrize(("sound", "longer"), [(0.5, True), (0.99, False)])
def test_a_caller_who_pauses_long_is_given_longer_where_the_end_is_in_doubt(sound: float, longer: bool) -> None:
    usual = patience(Evidence(sound, "plain"), "medium").seconds
    slow = patience(Evidence(sound, "plain", own_pause=1.5), "medium").seconds
    assert (slow > 1.5) if longer else (slow == usual)


@given(evidence, st.sampled_from(EAGERNESS))
def test_the_softer_the_last_syllable_the_sooner(known: Evidence, eagerness: Eagerness) -> None:
    waits = [patience(replace(known, fall=fall), eagerness).seconds for fall in (-20.0, -3.0, 0.0, 3.0, 6.0, 40.0)]
    assert all(later <= sooner + 1e-9 for sooner, later in itertools.pairwise(waits))


def test_a_voice_that_falls_is_waited_for_no_longer_though_it_sounds_unfinished() -> None:
    level, falling = (patience(Evidence(0.3, "plain", fall=fall), "medium") for fall in (1.0, 7.0))
    assert level.seconds > 2.0
    assert falling.seconds < 0.6


def test_a_turn_too_short_to_fall_is_judged_by_the_rest() -> None:
    assert probability_of_end(Evidence(0.9, "plain")) == probability_of_end(Evidence(0.9, "plain", fall=3.0))


def test_a_short_request_is_not_waited_for_as_long_as_an_open_sentence() -> None:
    few = patience(Evidence(0.97, "plain", 2, fall=0.0), "medium").seconds
    assert few == pytest.approx(2.3)
    assert patience(Evidence(0.05, "plain", 2), "medium").seconds > 3.0, "it sounds unfinished, too"
    assert patience(Evidence(0.97, "open", 2), "medium").seconds > 3.0


def test_words_outweigh_a_sound_that_is_not_sure() -> None:
    assert probability_of_end(Evidence(0.95, "open")) < 0.3
    assert probability_of_end(Evidence(0.95, "plain")) > 0.6
