"""Responses outside the conversation (`conversation: "none"`): guardrails and classifiers that run beside it.

"Only one Response can write to the default Conversation at a time, but otherwise multiple Responses can be created in
parallel" (OpenAI's reference, response.create).
"""

from typing import Any

import pytest

from server.conversation import commands as c
from server.llm.interface import UserText
from tests.support.call import Call, server_vad

_TEXT = {"conversation": "none", "output_modalities": ["text"]}
_ALOUD = {"conversation": "none"}


def begun(call: Call, **response: Any) -> str:
    """Id of a response that the client asks for now."""
    created, *_ = call.client_sends("response.create", response=response)
    assert created["type"] == "response.created"
    return str(created["response"]["id"])


def done(call: Call, response_id: str) -> dict[str, Any] | None:
    """A response as it ended; None if it has not."""
    ended = [event["response"] for event in call.all_of("response.done") if event["response"]["id"] == response_id]
    return ended[0] if ended else None


def deltas(call: Call) -> list[tuple[str, str]]:
    return [(event["response_id"], event["delta"]) for event in call.all_of("response.output_text.delta")]


def test_several_run_at_once_and_each_event_says_which_it_belongs_to() -> None:
    call = Call()
    call.client_adds("hello")
    polite, urgent = begun(call, **_TEXT, metadata={"topic": "polite"}), begun(call, **_TEXT)
    call.bot_writes("ye")
    call.bot_turns_to(polite)
    call.bot_writes("no")
    call.bot_turns_to(urgent)
    call.bot_writes("s")
    assert deltas(call) == [(urgent, "ye"), (polite, "no"), (urgent, "s")]
    call.bot_finishes()
    call.bot_finishes()
    [first, second] = [event["response"] for event in call.all_of("response.done")]
    assert (first["id"], second["id"]) == (urgent, polite)
    assert second["metadata"] == {"topic": "polite"}
    assert [response["usage"]["total_tokens"] for response in (first, second)] == [19, 19]
    assert call.history == [("user", "hello")]


def test_the_callers_turn_is_answered_while_one_runs() -> None:
    call = Call()
    guard = begun(call, **_TEXT)
    call.caller_says("hello")
    call.silence(1.0)
    call.bot_says("Hello there.")
    call.bot_finishes()
    assert call.history == [("user", "hello"), ("assistant", "Hello there.")]
    assert done(call, guard) is None
    call.bot_writes("{}")
    call.bot_finishes()
    result = done(call, guard)
    assert result is not None
    assert result["output"][0]["content"][0]["text"] == "{}"
    assert len(call.requests) == 2


def test_the_conversations_response_is_begun_while_one_runs_and_one_while_that_runs() -> None:
    """openai-agents-python#1907: a guardrail meets `conversation_already_has_active_response`."""
    call = Call()
    call.client_adds("hello")
    guards = [begun(call, **_TEXT)]
    answer = begun(call)
    guards.append(begun(call, **_TEXT))
    assert call.errors == []
    assert call.client.active == answer
    [error] = call.client_sends("response.create")
    assert error["error"]["code"] == "conversation_already_has_active_response"
    assert answer in error["error"]["message"]
    for _ in range(3):
        call.bot_finishes()
    assert all(done(call, response_id) for response_id in (*guards, answer))


def test_cancel_picks_one_by_its_id() -> None:
    call = Call()
    first, second, answer = begun(call, **_TEXT), begun(call, **_TEXT), begun(call)
    call.client_sends("response.cancel", response_id=first)
    result = done(call, first)
    assert result is not None
    assert result["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
    assert [stopped.response_id for stopped in call.commands(c.StopGenerating)] == [first]
    assert (done(call, second), done(call, answer)) == (None, None)


def test_cancel_without_an_id_means_the_conversations() -> None:
    """As the reference says: "if not provided, will cancel an in-progress response in the default conversation"."""
    call = Call()
    guard, answer = begun(call, **_TEXT), begun(call)
    call.client_sends("response.cancel")
    assert done(call, answer) is not None
    [error] = call.client_sends("response.cancel")
    assert error["error"]["code"] == "response_cancel_not_active"
    assert done(call, guard) is None


def test_one_that_runs_keeps_nobody_from_falling_silent() -> None:
    call = Call(audio=server_vad(idle_timeout_ms=1000))
    call.turn("hello", "Hello.")
    guard = begun(call, **_TEXT)
    assert call.conversation.at_rest(call.now)
    call.silence(1.2)
    assert call.all_of("input_audio_buffer.timeout_triggered")
    assert not call.conversation.engaged(call.now)
    call.bot_finishes()
    call.bot_finishes()
    assert done(call, guard)


def test_one_that_ends_is_no_answer_to_the_silence() -> None:
    call = Call(audio=server_vad(idle_timeout_ms=1000))
    begun(call, **_TEXT)
    call.bot_writes("{}")
    call.bot_finishes()
    call.silence(2.0)
    assert call.all_of("input_audio_buffer.timeout_triggered") == []


def test_the_next_answer_is_thought_ahead_while_one_runs() -> None:
    call = Call(audio={"input": {"turn_detection": {"type": "semantic_vad"}}})
    begun(call, **_TEXT)
    call.caller_says("what is the capital of France")
    call.silence(1.0)
    assert call.foreseen


def test_a_function_that_one_calls_is_the_applications_and_not_the_conversations() -> None:
    call = Call(x_tool_filler={"text": "One moment.", "after_ms": 500})
    call.turn("hello", "Hello.")
    begun(call, **_TEXT)
    call.bot_calls("report", "{}")
    call.bot_finishes("tool_calls")
    call.silence(2.0)
    assert call.last("response.done")["response"]["output"][0]["name"] == "report"
    assert call.said == []
    assert len(call.conversation.history) == 2


def test_words_that_are_not_known_yet_are_waited_for() -> None:
    call = Call(recognition_seconds=1.0, audio=server_vad(create_response=False))
    call.caller_says("hello")
    call.silence(0.6)
    begun(call, **_TEXT)
    assert call.requests == []
    call.silence(1.0)
    assert call.asked == [UserText("hello")]


def test_one_begun_while_the_caller_speaks_is_asked_at_once() -> None:
    call = Call()
    call.client_adds("earlier")
    call.caller_says("hello")
    begun(call, **_TEXT)
    assert call.asked == [UserText("earlier")]


# --- one that is spoken: the caller hears one voice


def test_what_is_to_be_spoken_is_not_refused_while_an_answer_is() -> None:
    call = Call()
    answer, announcement = begun(call), begun(call, **_ALOUD)
    call.bot_turns_to(answer)
    call.bot_says("Hello there.")
    call.bot_finishes()
    call.bot_says("An announcement.")
    call.bot_finishes()
    assert [done(call, each)["status"] for each in (answer, announcement)] == ["completed"] * 2  # type: ignore[index]  # both are done
    assert call.history == [("assistant", "Hello there.")]
    assert call.conversation.playback.ahead(call.now) == pytest.approx((12 + 16) / 15)
    assert not call.conversation.at_rest(call.now)


def test_speech_stops_what_is_heard_and_leaves_alone_what_is_not() -> None:
    call = Call()
    answer, announcement = begun(call), begun(call, **_ALOUD)
    call.bot_turns_to(answer)
    call.bot_says("Hello there, how are you today?")
    call.silence(0.5)
    call.caller_says("stop")
    assert done(call, answer) is not None
    assert done(call, announcement) is None
    call.silence(1.0)
    call.bot_finishes()  # the answer to "stop"
    call.bot_says("An announcement.")
    call.bot_finishes()
    assert done(call, announcement)["status"] == "completed"  # type: ignore[index]  # it is done


def test_nothing_begins_to_be_spoken_over_the_caller() -> None:
    call = Call()
    announcement = begun(call, **_ALOUD)
    call.caller_says("hello")
    call.bot_says("An announcement.", seconds=0.1)
    result = done(call, announcement)
    assert result is not None
    assert result["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert call.all_of("response.output_audio.delta") == []
    call.silence(1.0)
    assert call.asked == [UserText("hello")]


@pytest.mark.parametrize("response", [{"x_interruptible": False}, {}], ids=["uninterruptible", "never interrupted"])
def test_unless_nothing_may_stop_it(response: dict[str, Any]) -> None:
    call = Call(audio=server_vad(interrupt_response="x_interruptible" in response))
    begun(call, **_ALOUD, **response)
    call.caller_says("hello")
    call.bot_says("An announcement.")
    assert call.all_of("response.output_audio.delta")


def test_an_interruption_of_the_answer_leaves_an_uninterruptible_announcement_for_later() -> None:
    call = Call()
    announcement = begun(call, **_ALOUD, x_interruptible=False)
    answer = begun(call)
    call.bot_says("Hello there, how are you today?")
    call.silence(0.5)
    call.caller_says("stop")
    assert done(call, answer) is not None
    call.bot_turns_to(announcement)
    call.silence(1.0)
    call.bot_turns_to(announcement)
    call.bot_says("This call is recorded.")
    call.bot_finishes()
    assert done(call, announcement)["status"] == "completed"  # type: ignore[index]  # it is done


def test_an_answer_is_interrupted_while_an_uninterruptible_announcement_waits_for_its_turn() -> None:
    call = Call()
    announcement, answer = begun(call, **_ALOUD, x_interruptible=False), begun(call)
    call.caller_says("stop")
    assert done(call, answer) is not None
    assert done(call, announcement) is None


def test_an_announcement_that_noise_stopped_is_not_gone_on_with() -> None:
    call = Call()
    begun(call, **_ALOUD, input=[])
    call.bot_says("An announcement to all passengers on the platform.")
    call.silence(1.0)
    call.caller_says("one two three four", seconds=0.8)
    call.recognition_fails = True
    call.silence(2.0)
    assert call.last("response.done")["response"]["status"] == "cancelled"
    assert len(call.requests) == 1


def test_one_begun_while_the_caller_speaks_is_spoken_when_they_have_finished() -> None:
    call = Call()
    call.caller_says("hello")
    begun(call, **_ALOUD)
    assert call.requests == []
    call.silence(1.0)
    assert len(call.requests) == 2  # and the turn is answered


def test_a_client_that_drops_its_audio_ends_all_that_is_spoken_and_nothing_else() -> None:
    call = Call()
    guard, announcement, answer = begun(call, **_TEXT), begun(call, **_ALOUD), begun(call)
    call.bot_says("Hello there.")
    call.client_sends("output_audio_buffer.clear")
    cleared = [event["response_id"] for event in call.all_of("output_audio_buffer.cleared")]
    assert cleared == [announcement, answer]
    assert done(call, guard) is None
