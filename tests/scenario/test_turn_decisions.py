"""What turn-taking thought, told to a client that asked for it (`x_turn_decisions`)."""

from typing import Any

from tests.support.call import Call


def call_of(*, decisions: bool = True) -> Call:
    return Call(audio={"input": {"turn_detection": {"type": "semantic_vad"}}}, x_turn_decisions=decisions)


def decided(call: Call) -> list[dict[str, Any]]:
    return [
        {key: told[key] for key in told if key not in ("type", "event_id")} for told in call.all_of("x_turn.decided")
    ]


def test_the_end_of_a_turn_is_told_with_its_reason_and_what_it_rests_on() -> None:
    call = call_of()
    call.caller_says("what is the capital of France")
    call.silence(2.0)
    [ended] = decided(call)
    assert 300 <= ended.pop("silence_ms") <= 450
    assert ended == {
        "decision": "turn_ended",
        "reason": "finished",
        "longest_pause_ms": 0,
        "sounds_finished": 0.99,
        "fall_db": 5.3,
    }
    kinds = [event["type"] for event in call.client.received]
    assert kinds[kinds.index("x_turn.decided") - 1] == "input_audio_buffer.speech_stopped"


def test_a_voice_that_was_heard_into_an_answer_is_told_with_what_it_was() -> None:
    call = call_of()
    call.caller_says("when do you open on a Saturday")
    call.silence(2.0)
    call.bot_says("We open at nine in the morning on every day of the week.", seconds=8.0)
    call.silence(1.5)
    call.caller_says("mhm", 0.3)
    call.silence(1.0)
    call.caller_says("no the other shop please", 1.0)
    call.silence(1.0)
    told = decided(call)
    assert [event["decision"] for event in told] == ["turn_ended", "backchannel", "interruption", "turn_ended"]
    assert all(event["voiced_ms"] > 0 for event in told[1:3])


def test_who_did_not_ask_is_told_nothing() -> None:
    call = call_of(decisions=False)
    call.caller_says("what is the capital of France")
    call.silence(2.0)
    assert decided(call) == []
