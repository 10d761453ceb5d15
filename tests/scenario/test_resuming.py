"""A call that goes on on another node: its history as it was heard, and the rest of what was being said."""

from server.conversation.resuming import Played
from server.dialects.dialect import TicketShown, TicketWanted
from server.llm.interface import AssistantText, SystemText, UserText
from tests.support.call import TRANSCRIBED, Call

ANSWER = "We are open from nine to five on weekdays"  # 2.7 seconds


def asking() -> Call:
    """The caller has asked something, and the model is at its answer."""
    call = Call()
    call.turn("hello", "Hello there.")
    call.caller_says("when are you open")
    call.silence(1.0)
    return call


def spoken(call: Call) -> str:
    """The item that is being spoken."""
    return str(call.last("response.output_item.added")["item"]["id"])


def goes_on(call: Call) -> bool:
    """Whether the model is asked for the rest of an answer."""
    return isinstance(last := call.asked[-1], SystemText) and "go on with the next word" in last.text


def test_a_call_at_rest_goes_on_with_its_history_and_nobody_speaks() -> None:
    call = asking()
    call.bot_says(ANSWER)
    call.bot_finishes()
    call.silence(4.0)
    after = call.resumed()
    assert after.history == call.history
    assert after.answering is None
    assert after.client.items == call.client.items
    assert after.events == ["session.updated", *4 * ["conversation.item.added", "conversation.item.done"]]
    after.turn("and on Sundays", "No.")
    assert after.history[-2:] == [("user", "and on Sundays"), ("assistant", "No.")]


def test_an_answer_cut_off_by_the_loss_goes_on_from_the_first_word_that_was_not_heard() -> None:
    call = asking()
    call.bot_says(ANSWER)
    after = call.resumed(Played(spoken(call), 1.45))
    assert after.history[-1] == ("assistant", "We are open from nine")
    assert after.asked[-2] == AssistantText("We are open from nine")
    assert goes_on(after)
    after.bot_says("to five on weekdays.")
    after.bot_finishes()
    after.silence(3.0)
    assert after.history[-1] == ("assistant", "to five on weekdays.")


def test_without_the_clients_word_the_caller_heard_what_had_been_played_by_the_time_of_the_ticket() -> None:
    call = asking()
    call.bot_says(ANSWER)
    call.silence(1.4)
    assert call.resumed().history[-1] == ("assistant", "We are open from nine")


def test_an_answer_that_was_complete_but_not_played_to_its_end_goes_on_and_calls_no_function() -> None:
    call = asking()
    call.bot_says(ANSWER)
    call.bot_finishes()
    after = call.resumed(Played(spoken(call), 1.45))
    assert goes_on(after)
    assert after.requests[-1].tool_choice == "none"


def test_an_answer_of_which_nothing_was_heard_is_given_again() -> None:
    call = asking()
    call.bot_says(ANSWER)
    after = call.resumed(Played(spoken(call), 0.0))
    assert after.history[-1] == ("user", "when are you open")
    assert after.asked[-1] == UserText("when are you open")


def test_an_answer_that_had_not_begun_is_asked_for_again() -> None:
    after = asking().resumed()
    assert after.asked[-1] == UserText("when are you open")
    after.bot_says(ANSWER)
    after.bot_finishes()
    assert after.history[-1] == ("assistant", ANSWER)


def test_what_was_heard_to_its_end_of_an_answer_under_way_is_not_said_again() -> None:
    call = asking()
    call.bot_says("We are open from nine to five.")
    after = call.resumed(Played(spoken(call), 60.0))
    assert after.history[-1] == ("assistant", "We are open from nine to five.")
    assert goes_on(after)


def test_an_item_that_the_ticket_does_not_know_was_played_after_all_that_it_knows() -> None:
    call = asking()
    call.bot_says(ANSWER)
    call.bot_finishes()
    after = call.resumed(Played("item_of_later", 0.3))
    assert after.history == call.history
    assert after.answering is None


def test_of_two_items_that_were_being_played_the_second_one_was_not_heard() -> None:
    call = asking()
    call.bot_says(ANSWER)
    call.bot_finishes()
    first = spoken(call)
    call.client_sends("response.create")
    call.bot_says("Anything else?")
    after = call.resumed(Played(first, 60.0))
    assert after.history[-1] == ("assistant", ANSWER)
    after = call.resumed(Played(spoken(call), 60.0))
    assert after.history[-2:] == [("assistant", ANSWER), ("assistant", "Anything else?")]


def test_text_that_was_being_written_is_written_again() -> None:
    call = Call(output_modalities=["text"])
    call.client_adds("when are you open")
    call.client_sends("response.create")
    call.bot_writes("We are")
    after = call.resumed()
    assert after.history == [("user", "when are you open")]
    assert after.answering
    assert not goes_on(after)


def test_words_that_were_not_known_yet_are_lost_and_what_was_said_before_is_not() -> None:
    call = Call(recognition_seconds=10.0)
    call.client_adds("hello")
    call.caller_says("when are you open")
    call.silence(1.0)
    assert call.awaits_words
    after = call.resumed()
    assert after.history == [("user", "hello")]
    assert after.answering is None


def test_the_rest_of_an_answer_that_noise_cut_off_is_still_owed() -> None:
    call = asking()
    call.bot_says(ANSWER)
    call.silence(1.0)
    call.recognition_seconds = 10.0
    call.caller_says("wait please", 1.0)
    call.silence(1.0)
    after = call.resumed()
    assert after.answering


def test_a_turn_that_waits_for_another_ones_words_is_answered() -> None:
    call = Call()
    call.caller_says("hello")
    call.silence(1.0)
    call.recognition_seconds = 10.0
    call.caller_says("and another thing")
    call.silence(1.0)
    assert call.resumed().asked[-1] == UserText("hello")


def test_a_function_that_was_called_is_the_applications_to_answer() -> None:
    call = Call(x_tool_filler={"text": "One moment."})
    call.caller_says("what is the weather")
    call.silence(1.0)
    call.bot_says("Let me see.")
    call.bot_calls("get_weather", "{}")
    call.bot_finishes("tool_calls")
    call.silence(0.4)
    after = call.resumed(Played(spoken(call), 60.0))
    assert after.answering is None
    assert after.last("conversation.item.done")["item"]["type"] == "function_call"
    after.no_audio(2.0)
    assert after.said == ["One moment."]
    output = {"type": "function_call_output", "call_id": "call_1", "output": "18 degrees"}
    after.client_sends("conversation.item.create", item=output)
    after.client_sends("response.create")
    after.bot_says("18 degrees.")
    after.bot_finishes()
    assert after.history[-1] == ("assistant", "18 degrees.")


def test_a_function_that_has_its_result_is_answered_again() -> None:
    call = Call()
    call.client_sends("response.create")
    call.bot_calls("get_weather", "{}")
    call.bot_finishes("tool_calls")
    output = {"type": "function_call_output", "call_id": "call_1", "output": "18 degrees"}
    call.client_sends("conversation.item.create", item=output)
    call.client_sends("response.create")
    call.bot_calls("get_more", "{")
    after = call.resumed()
    assert after.answering
    assert [item.id for item in after.conversation.history] == after.client.items
    assert len(after.client.items) == 2, "a call whose arguments are not complete is made again"


def test_an_answer_to_nothing_is_given_again() -> None:
    call = Call()
    call.client_sends("response.create")
    assert call.resumed().answering


def test_a_goodbye_is_not_owed() -> None:
    call = asking()
    call.bot_says(ANSWER)
    call.bot_finishes()
    call.silence(4.0)
    call._perform(call.conversation.say_goodbye())
    assert call.resumed().answering is None


def test_settings_and_usage_come_along() -> None:
    call = Call(instructions="Be kind.", audio=TRANSCRIBED, x_resume=True)
    call.turn("hello", "Hello.")
    after = call.resumed().resumed()
    assert after.conversation.config == call.conversation.config
    assert after.conversation.usage == call.conversation.usage
    assert after.conversation.usage.input_tokens == 12
    session = after.last("session.updated")["session"]
    assert session == call.last("session.updated")["session"]


def test_what_the_model_is_not_shown_any_more_does_not_come_along() -> None:
    limits = {"post_instructions": 40}
    truncation = {"type": "retention_ratio", "retention_ratio": 0.5, "token_limits": limits}
    call = Call(truncation=truncation)
    for number in range(10):
        call.turn(f"question number {number} please", "An answer.")
    after = call.resumed()
    assert 2 < len(after.history) < 10
    assert after.history == call.history[-len(after.history) :]


def test_a_deleted_answer_is_not_said_again() -> None:
    call = asking()
    call.bot_says(ANSWER)
    call.bot_finishes()
    call.client_sends("conversation.item.delete", item_id=spoken(call))
    assert call.resumed().answering is None


# --- the dialect's side


def test_a_ticket_is_shown_before_anything_else() -> None:
    call = Call()
    call.client_sends("x_session.resume", ticket="abc", played={"item_id": "item_1", "audio_end_ms": 250})
    assert call.commands(TicketShown) == [TicketShown("abc", Played("item_1", 0.25))]
    assert call.client_sends("x_session.resume", ticket="abc")[0]["error"]["code"] == "resume_not_first"
    other = Call()
    other.client_sends("x_session.resume", ticket="abc")
    assert other.commands(TicketShown) == [TicketShown("abc")]


def test_a_ticket_is_for_whoever_asked_to_resume() -> None:
    call = Call()
    assert call.client_sends("x_session.ticket.retrieve")[0]["error"]["code"] == "invalid_value"
    assert call.commands(TicketWanted) == []
    call.client_sends("session.update", session={"x_resume": True})
    call.client_sends("x_session.ticket.retrieve")
    assert len(call.commands(TicketWanted)) == 2
