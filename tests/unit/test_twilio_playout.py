"""The Twilio of our own caller: it plays in real time, and sends marks back when it should."""

from base64 import b64encode
from typing import Any

import pytest

from server.client.twilio_playout import TwilioPlayout
from tests.support.twilio_messages import SENT_CLEAR, SENT_MARK, SENT_MEDIA

_MARK: dict[str, Any] = SENT_MARK | {"mark": {"name": "a"}}
_SECOND: dict[str, Any] = SENT_MEDIA | {"media": {"payload": b64encode(b"\xff" * 8000).decode()}}


def test_a_mark_comes_back_when_the_audio_before_it_has_been_played() -> None:
    twilio = TwilioPlayout()
    for message in (_SECOND, _MARK, _SECOND):
        assert twilio.take(message, 10.0) == []
    assert twilio.play(10.0) == [b"\xff" * 8000]
    assert twilio.play(10.9) == []
    assert twilio.play(11.0) == ["a", b"\xff" * 8000]
    assert twilio.idle


def test_a_mark_without_audio_before_it_comes_back_at_once() -> None:
    twilio = TwilioPlayout()
    twilio.take(_MARK, 10.0)
    assert twilio.play(10.0) == ["a"]


def test_audio_that_comes_late_is_played_when_it_comes() -> None:
    twilio = TwilioPlayout()
    twilio.take(_SECOND, 10.0)
    twilio.play(10.0)
    twilio.take(_SECOND, 15.0)
    twilio.play(15.0)
    assert twilio.ends_at == 16.0


def test_a_clear_drops_what_is_not_played_and_brings_its_marks_back_at_once() -> None:
    twilio = TwilioPlayout()
    for message in (_SECOND, _SECOND, _MARK):
        twilio.take(message, 10.0)
    twilio.play(10.0)
    assert twilio.take(SENT_CLEAR, 10.5) == ["a"]
    assert twilio.cleared == ["a"]
    assert twilio.play(20.0) == []
    assert twilio.ends_at == 10.5


def test_what_twilio_does_not_take_is_an_error() -> None:
    with pytest.raises(ValueError, match="media, mark and clear"):
        TwilioPlayout().take({"event": "error"}, 0.0)
