"""Where no answer can be given the caller hears a line instead, and the call goes on."""

from typing import Any

import pytest

from server.conversation import commands as c
from server.spoken_lines import BUNDLED, SpokenLines
from tests.support.call import TRANSCRIBED, Call

LINES = SpokenLines.of("en", {})
FAILED = BUNDLED["en"]["failed"]
NOT_HEARD = BUNDLED["en"]["not_heard"]


def asked(**session: Any) -> Call:
    """A call on which the caller has asked something that is being answered."""
    call = Call(lines=LINES, **session)
    call.caller_says("when are you open")
    call.silence(1.0)
    return call


def test_an_answer_that_fails_before_its_first_word_is_a_line_and_a_failure() -> None:
    call = asked()
    assert call.bot_excuses_itself() == FAILED
    call.bot_fails()
    response = call.last("response.done")["response"]
    assert response["status"] == "failed"
    assert response["status_details"]["error"]["code"] == "unavailable"
    assert response["output"][0]["content"][0]["transcript"] == FAILED
    call.silence(10.0)
    assert call.heard == FAILED
    assert call.commands(c.SaidInstead) == [c.SaidInstead("failed")]


def test_an_answer_that_fails_in_the_middle_keeps_what_was_heard_and_the_line_is_a_message_of_its_own() -> None:
    call = asked()
    call.bot_says("Our opening hours are")
    call.bot_excuses_itself()
    call.bot_fails()
    call.silence(10.0)
    assert call.history[1:] == [("assistant", "Our opening hours are"), ("assistant", FAILED)]
    statuses = [item["status"] for item in call.last("response.done")["response"]["output"]]
    assert statuses == ["incomplete", "incomplete"]


def test_of_a_clause_that_the_voice_broke_off_history_keeps_what_was_sent() -> None:
    call = asked()
    call.bot_says("We are open from nine to five on weekdays", seconds=1.0)
    call.bot_excuses_itself()
    call.bot_fails()
    call.silence(10.0)
    assert call.history[1:] == [("assistant", "We are open"), ("assistant", FAILED)]


def test_a_call_of_a_function_that_was_cut_off_is_not_shown_to_the_model() -> None:
    call = asked()
    call.bot_calls("book", '{"ro')
    call.bot_excuses_itself()
    call.bot_fails()
    call.silence(10.0)
    call.caller_says("hello")
    call.silence(1.0)
    assert [message.text for message in call.asked] == ["when are you open", FAILED, "hello"]  # type: ignore[union-attr]


def test_the_caller_may_interrupt_the_line_and_is_answered() -> None:
    call = asked()
    call.bot_excuses_itself()
    call.caller_says("never mind then what is your address")
    call.silence(1.0)
    assert len(call.requests) == 2
    call.bot_says("Main Street.")


def test_the_line_is_in_the_language_of_the_session() -> None:
    call = asked(audio={"input": {"transcription": {"model": "any", "language": "de"}}})
    assert call.bot_excuses_itself("busy") == BUNDLED["de"]["busy"]


@pytest.mark.parametrize("lines", [None, SpokenLines.of("en", {"*": {"failed": ""}})], ids=["none", "silenced"])
def test_without_a_line_the_answer_just_fails(lines: SpokenLines | None) -> None:
    call = Call(lines=lines)
    call.caller_says("when are you open")
    call.silence(1.0)
    assert call.bot_excuses_itself() == ""
    call.bot_fails()
    assert call.last("response.done")["response"]["output"] == []


def test_an_answer_in_text_has_no_line() -> None:
    assert asked(output_modalities=["text"]).bot_excuses_itself() == ""


def test_what_the_assistant_says_of_its_own_accord_has_none_either() -> None:
    call = Call(lines=LINES, audio={"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 5000}}})
    call.turn("when are you open", "At nine.")
    call.silence(6.0)
    assert call.bot_excuses_itself() == ""


def test_nothing_is_said_over_the_caller() -> None:
    call = asked(audio={"input": {"turn_detection": {"type": "server_vad", "interrupt_response": False}}})
    call.caller_says("and another thing")
    assert call.bot_excuses_itself() == ""


def test_an_answer_that_has_ended_has_no_line() -> None:
    call = asked()
    response = str(call.answering)
    call.bot_fails()
    assert call.conversation.line_instead(response, "failed") == ""
    assert call.conversation.break_off(response, "failed") == []


def test_who_is_not_understood_is_told_so_and_may_say_it_again() -> None:
    call = Call(lines=LINES, audio=TRANSCRIBED)
    call.recognition_fails = True
    call.caller_says("when are you open")
    call.silence(1.0)
    assert call.said == [NOT_HEARD]
    assert call.requests == [], "there is nothing to answer"
    assert call.commands(c.SaidInstead) == [c.SaidInstead("not_heard")]
    call.bot_says(NOT_HEARD)
    call.bot_finishes()
    assert call.last("response.done")["response"]["status"] == "completed"
    call.silence(5.0)
    call.recognition_fails = False
    call.caller_says("when are you open")
    call.silence(1.0)
    assert len(call.requests) == 1


def test_who_goes_on_over_that_is_answered_to_what_was_understood() -> None:
    call = Call(lines=LINES)
    call.recognition_fails = True
    call.caller_says("when are you open")
    call.silence(1.0)
    call.recognition_fails = False
    call.caller_says("on sunday")
    call.silence(1.0)
    assert call.said == [NOT_HEARD]
    assert [message.text for message in call.asked] == ["on sunday"]  # type: ignore[union-attr]


def test_where_the_client_answers_it_decides_what_to_say_to_words_that_were_not_understood() -> None:
    call = Call(lines=LINES, audio={"input": {"turn_detection": {"type": "server_vad", "create_response": False}}})
    call.recognition_fails = True
    call.caller_says("when are you open")
    call.silence(1.0)
    assert call.said == []


def test_a_session_in_text_is_not_spoken_to() -> None:
    call = Call(lines=LINES, output_modalities=["text"])
    call.recognition_fails = True
    call.caller_says("when are you open")
    call.silence(1.0)
    assert call.said == []


def test_an_answer_that_the_client_asks_for_is_the_answer_to_what_was_not_understood() -> None:
    call = Call(lines=LINES, recognition_seconds=2.0)
    call.recognition_fails = True
    call.caller_says("when are you open")
    call.silence(1.0)
    call.client_sends("response.create")
    call.silence(3.0)
    assert len(call.requests) == 1
    assert call.said == []
