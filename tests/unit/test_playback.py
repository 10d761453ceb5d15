"""What a client has played of what it was sent, in words and seconds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.conversation.playback import Playback

_TEXT = "Ten letter words and more."  # 26 characters


def playing(*clauses: tuple[str, float], now: float = 100.0) -> Playback:
    """An item whose clauses have all been sent at once."""
    playback = Playback()
    for text, seconds in clauses:
        playback.clause("item", text)
        playback.audio("item", seconds, now)
    return playback


def test_audio_is_played_in_order_from_when_it_arrives() -> None:
    playback = playing(("one", 1.0), ("two", 2.0))
    assert playback.ends_at == 103.0
    assert [playback.heard("item", now) for now in (99.0, 100.0, 100.5, 102.0, 110.0)] == [0.0, 0.0, 0.5, 2.0, 3.0]
    assert [playback.ahead(now) for now in (100.0, 102.5, 110.0)] == [3.0, 0.5, 0.0]


def test_a_gap_in_the_audio_is_not_heard() -> None:
    playback = playing(("one", 1.0))
    assert playback.audio("item", 1.0, 105.0)
    assert playback.heard("item", 104.0) == 1.0
    assert playback.heard("item", 105.5) == 1.5
    assert playback.ends_at == 106.0


def test_running_dry_counts_only_in_the_middle_of_an_item() -> None:
    playback = Playback()
    playback.clause("item", "one")
    assert not playback.audio("item", 1.0, 100.0)
    assert not playback.audio("item", 1.0, 100.5)
    playback.clause("item", "two")
    assert playback.audio("item", 1.0, 103.0)
    playback.clause("next", "three")
    assert not playback.audio("next", 1.0, 110.0)


def test_a_clause_that_gave_no_audio_is_no_reason_to_count_less() -> None:
    playback = Playback()
    playback.clause("item", "silent")
    playback.clause("item", "one")
    assert not playback.audio("item", 1.0, 100.0)
    assert playback.audio("item", 1.0, 102.0)


@pytest.mark.parametrize(
    ("heard", "text"),
    [
        (0.0, ""),
        (0.2, ""),
        (0.3, "Ten"),
        (1.0, "Ten letter"),
        (2.599, _TEXT),
        (2.6, _TEXT),
        (99.0, f"{_TEXT} And"),
    ],
)
def test_text_is_cut_at_a_words_end(heard: float, text: str) -> None:
    playback = playing((_TEXT, 2.6), ("And", 0.5))
    playback.finish("item")
    assert playback.text("item", heard) == text


def test_a_clause_broken_off_is_taken_to_last_as_long_as_it_usually_would() -> None:
    playback = playing(("A clause of thirty letters, is.", 0.9))
    assert playback.text("item", 0.9) == "A clause of"
    playback.audio("item", 2.0, 100.0)  # the voice is slower than usual
    assert playback.text("item", 2.9) == "A clause of thirty letters, is."


def test_a_clause_without_audio_was_never_heard_and_breaks_nothing() -> None:
    playback = playing(("one", 1.0))
    playback.clause("item", "")
    playback.clause("item", "three")
    assert playback.text("item", 1.0) == "one "
    assert playback.text("item", 0.0) == ""


def test_unfinished_items_are_those_still_to_be_played() -> None:
    playback = playing(("one", 1.0))
    playback.finish("item")
    playback.clause("next", "two")
    playback.audio("next", 1.0, 100.0)
    assert playback.unfinished(100.5) == ["item", "next"]
    assert playback.unfinished(101.5) == ["next"]
    assert playback.unfinished(102.0) == []


def test_what_is_cut_is_never_heard_and_no_longer_unfinished() -> None:
    playback = playing(("one", 1.0), ("two", 1.0))
    playback.clause("next", "three")
    playback.audio("next", 1.0, 100.0)
    playback.cut(100.5)
    assert playback.heard("item", 110.0) == pytest.approx(0.5)
    assert playback.heard("next", 110.0) == 0.0
    assert playback.ahead(100.5) == 0.0
    playback.clause("last", "four")
    playback.audio("last", 1.0, 101.0)
    assert playback.unfinished(101.5) == ["last"]


def test_an_item_that_the_client_stopped_is_not_unfinished() -> None:
    playback = playing(("one", 2.0))
    playback.stop("item", 101.0)
    assert playback.unfinished(101.0) == []
    assert playback.ahead(101.0) == 0.0
    assert playback.text("item", 2.0) == "one"


def test_stopping_an_item_of_old_leaves_what_is_playing_alone() -> None:
    playback = playing(("one", 1.0))
    playback.clause("next", "two")
    playback.audio("next", 5.0, 110.0)
    playback.stop("item", 111.0)
    assert playback.ahead(111.0) == 4.0
    assert playback.unfinished(111.0) == ["next"]


def test_a_forgotten_item_is_unknown() -> None:
    playback = playing(("one", 1.0))
    assert playback.knows("item")
    playback.forget("item")
    playback.forget("item")
    assert not playback.knows("item")
    playback.finish("item")


def test_an_hours_audio_is_kept_in_one_stretch() -> None:
    # livekit/agents#2166: memory grows over calls
    playback = Playback()
    playback.clause("item", "one")
    for frame in range(1000):
        playback.audio("item", 0.02, 100.0 + frame * 0.019)
    assert playback.heard("item", 200.0) == pytest.approx(20.0)
    assert playback.sent("item") == pytest.approx(20.0)


@given(
    clauses=st.lists(
        st.tuples(st.text("abc ,", min_size=1, max_size=30).map(str.strip), st.floats(0.0, 3.0)), min_size=1, max_size=5
    ),
    first=st.floats(0.0, 10.0),
    second=st.floats(0.0, 10.0),
)
def test_what_was_heard_is_a_growing_prefix_of_what_was_said(
    clauses: list[tuple[str, float]], first: float, second: float
) -> None:
    playback = playing(*clauses)
    playback.finish("item")
    whole = " ".join(text for text, _ in clauses)
    early, late = (playback.text("item", heard) for heard in sorted((first, second)))
    assert whole.startswith(late)
    assert late.startswith(early)
    assert playback.text("item", playback.sent("item")) == whole


def test_what_is_said_between_two_times_is_known_to_the_word() -> None:
    playback = Playback()
    playback.clause("item", "We open at nine in the morning.")
    playback.audio("item", 3.1, now=10.0)  # ten characters a second
    playback.clause("item", "And close at five.")
    playback.audio("item", 1.8, now=10.0)
    assert playback.said(10.0, 11.0) == "We open at"
    assert playback.said(11.1, 11.5) == "nine"
    assert playback.said(12.5, 13.5) == "morning. And close"
    assert playback.said(14.1, 20.0) == "at five."
    assert playback.said(15.0, 20.0) == playback.said(5.0, 9.0) == ""


def test_a_question_is_asked_when_its_last_word_is_played() -> None:
    playback = Playback()
    playback.clause("item", "Shall I book it?")
    playback.audio("item", 1.6, now=10.0)
    playback.clause("item", "It costs nine euros.")
    playback.audio("item", 2.0, now=10.0)
    assert playback.asked(11.0, 12.0)
    assert not playback.asked(10.0, 11.0)
    assert not playback.asked(12.0, 14.0)


def test_playback_has_begun_when_there_was_nothing_to_play_before() -> None:
    playback = Playback()
    playback.clause("item", "We open at nine.")
    playback.audio("item", 1.0, now=10.0)
    playback.audio("item", 1.0, now=10.5)
    assert playback.began_at == 10.0
    playback.audio("item", 1.0, now=13.0)
    assert playback.began_at == 13.0


# --- a client that says what it has played


def test_what_a_client_has_played_sets_the_rest_right() -> None:
    playback = playing(("one", 1.0), ("two", 2.0))
    playback.audio("next", 1.0, 100.0) if playback.knows("next") else playback.clause("next", "three")
    playback.audio("next", 1.0, 100.0)
    playback.confirm("item", 0, asked=100.0, now=101.5)
    assert (playback.heard("item", 101.5), playback.heard("item", 102.5)) == (1.0, 2.0)
    assert playback.ends_at == 104.5
    playback.confirm("item", 1, asked=100.0, now=103.25)
    assert playback.ends_at == 104.25


def test_a_client_that_was_asked_late_is_no_later_than_it_answers() -> None:
    playback = playing(("one", 1.0))
    playback.confirm("item", 0, asked=105.0, now=105.2)
    playback.audio("item", 1.0, 110.0)
    assert playback.ends_at == pytest.approx(111.2)


def test_audio_that_begins_anew_is_taken_to_be_played_as_late_as_before() -> None:
    playback = playing(("one", 1.0))
    playback.confirm("item", 0, asked=100.0, now=101.25)
    playback.clause("next", "two")
    playback.audio("next", 1.0, 110.0)
    assert playback.ends_at == 111.25
    playback.confirm("next", 0, asked=110.0, now=121.25)  # it has stalled
    playback.clause("last", "three")
    playback.audio("last", 1.0, 130.0)
    assert playback.ends_at == 132.0


def test_what_a_client_does_not_say_to_have_played_is_held_back() -> None:
    playback = playing(("one", 1.0), ("two", 2.0))
    assert not playback.hold("item", 0, asked=100.0, until=100.9)
    assert playback.ends_at == 103.0
    assert playback.hold("item", 0, asked=100.0, until=101.5)
    assert playback.ends_at == 103.5
    assert playback.text("item", playback.heard("item", 101.4)) == ""


def test_what_is_said_of_an_unknown_or_silent_clause_changes_nothing() -> None:
    playback = playing(("one", 1.0))
    playback.clause("item", "silent")
    for item_id, clause in (("unknown", 0), ("item", 1), ("item", 7)):
        playback.confirm(item_id, clause, asked=100.0, now=150.0)
        assert not playback.hold(item_id, clause, asked=100.0, until=150.0)
    assert playback.ends_at == 101.0
