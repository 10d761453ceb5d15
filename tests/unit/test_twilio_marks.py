"""What marks that come back say of what was heard, and which say nothing."""

from server.conversation.playback import Playback
from server.dialects.twilio.marks import Marks


def marked(*seconds: float) -> tuple[Playback, Marks, list[str]]:
    """Clauses of so many seconds, sent at 100.0, with a mark behind each."""
    playback = Playback()
    marks = Marks(playback)
    names = []
    for index, length in enumerate(seconds):
        playback.clause("item", "word " * 10)
        playback.audio("item", length, 100.0)
        names.append(marks.set("item", index, 100.0))
    return playback, marks, names


def test_marks_have_names_of_their_own() -> None:
    _, _, names = marked(1.0, 1.0)
    assert names == ["item:0", "item:1"]


def test_a_mark_that_is_back_sets_the_clock_right() -> None:
    playback, marks, names = marked(1.0, 1.0)
    marks.came_back(names[0], 101.5)
    assert playback.ends_at == 102.5
    assert marks
    marks.came_back(names[1], 102.5)
    assert not marks


def test_a_mark_that_is_late_holds_what_follows() -> None:
    playback, marks, _ = marked(1.0, 1.0)
    marks.keep_time(100.5)
    assert playback.ends_at == 102.0
    marks.keep_time(101.5)
    assert playback.ends_at > 102.5


def test_marks_that_were_dropped_say_nothing_when_they_come_back_nor_when_they_do_not() -> None:
    playback, marks, names = marked(1.0, 1.0)
    playback.cut(100.5)
    marks.drop()
    for name in names:
        marks.came_back(name, 100.6)
    marks.keep_time(109.0)
    assert (playback.heard("item", 109.0), playback.ends_at) == (0.5, 100.5)


def test_a_mark_comes_back_once() -> None:
    playback, marks, names = marked(1.0, 1.0)
    marks.came_back(names[0], 101.0)
    marks.came_back(names[0], 101.9)
    assert playback.ends_at == 102.0


def test_a_mark_that_never_comes_back_is_given_up() -> None:
    playback, marks, _ = marked(1.0)
    for tick in range(600):
        marks.keep_time(101.0 + tick / 50)
    assert not marks
    assert playback.ends_at < 107.0
