"""What a caller is taken to have said in vain when a connection is lost."""

from itertools import count
from typing import Any

import pytest

from server.client.unheard import Unheard

FRAME_MS = 20.0


class Caller:
    """Says numbered frames of 20 ms."""

    def __init__(self, transcription: dict[str, str] | None) -> None:
        self._numbers = count()
        self.unheard = Unheard()
        self.tell("session.updated", session={"audio": {"input": {"transcription": transcription}}})

    def speak(self, ms: float) -> None:
        for _ in range(round(ms / FRAME_MS)):
            self.unheard.say(str(next(self._numbers)), FRAME_MS)

    def tell(self, kind: str, **fields: Any) -> None:
        self.unheard.note({"type": kind, **fields})

    def begins(self, ms: int) -> None:
        self.tell("input_audio_buffer.speech_started", audio_start_ms=ms)

    def ends(self, ms: int) -> None:
        self.tell("input_audio_buffer.speech_stopped", audio_end_ms=ms)

    def understood(self, how: str = "completed") -> None:
        self.tell(f"conversation.item.input_audio_transcription.{how}")

    def again(self) -> list[float]:
        """When what is said again began and ended, in ms since the first connection began."""
        frames = [int(message) for message in self.unheard.again()]
        assert frames == list(range(frames[0], frames[-1] + 1))
        return [FRAME_MS * frames[0], FRAME_MS * (frames[-1] + 1)]


@pytest.fixture
def caller() -> Caller:
    return Caller({"model": "default"})


def test_of_a_caller_who_is_not_known_to_speak_the_last_half_second_is_said_again(caller: Caller) -> None:
    caller.speak(3000)
    assert caller.again() == [2500, 3000]


def test_a_turn_is_said_again_from_its_beginning_until_a_ticket_knows_its_words(caller: Caller) -> None:
    caller.speak(3000)
    caller.begins(2600)
    caller.speak(2000)
    caller.ends(4000)
    caller.tell("x_session.ticket", ticket="before the words")
    caller.speak(1000)
    caller.understood()
    assert caller.again() == [2600, 6000]


@pytest.mark.parametrize("how", ["completed", "failed"])
@pytest.mark.parametrize("kind", ["x_session.ticket", "x_session.move"])
def test_what_a_ticket_knows_is_not_said_again(caller: Caller, how: str, kind: str) -> None:
    caller.speak(2000)
    caller.begins(100)
    caller.ends(1800)
    caller.understood(how)
    caller.tell(kind, ticket="sealed")
    assert caller.again() == [1800, 2000]


def test_a_second_turn_is_said_again_alone(caller: Caller) -> None:
    caller.speak(300)
    caller.begins(100)
    caller.speak(2000)
    caller.ends(900)
    caller.begins(2000)
    caller.understood()
    caller.tell("x_session.ticket", ticket="sealed")
    caller.speak(2000)
    assert caller.again() == [2000, 4300]


def test_a_turn_outlives_a_second_loss_before_the_next_node_has_heard_it(caller: Caller) -> None:
    caller.speak(2400)
    caller.begins(2000)
    caller.speak(600)
    assert caller.again() == [2000, 3000]
    caller.speak(1000)
    assert caller.again() == [2000, 4000]
    caller.begins(0)  # of the third connection, whose audio begins at 2000
    caller.ends(1600)
    caller.understood()
    caller.tell("x_session.ticket", ticket="sealed")
    assert caller.again() == [3600, 4000]


def test_a_turn_without_an_end_is_kept_for_half_a_minute(caller: Caller) -> None:
    caller.speak(1000)
    caller.begins(0)
    caller.speak(40_000)
    assert caller.again() == [11_000, 41_000]


def test_without_transcription_nobody_tells_which_words_are_known() -> None:
    caller = Caller(None)
    caller.speak(2000)
    caller.begins(100)
    caller.speak(1000)
    assert caller.again() == [2500, 3000]
