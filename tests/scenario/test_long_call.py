"""A call of an hour and more: 1,500 turns, and nothing in it is refused, lost or forgotten."""

from tests.support.call import Call

TURNS = 1500


def test_fifteen_hundred_turns_meet_no_limit() -> None:
    call = Call(recognition_seconds=0.01, tools=[{"type": "function", "name": f"tool_{n}"} for n in range(100)])
    for turn in range(TURNS):
        call.caller_says(f"Question {turn}?", seconds=0.3)
        call.silence(0.6)
        call.bot_says(f"Answer {turn}.", seconds=0.2)
        call.bot_finishes()
        call.silence(0.3)
    assert len(call.conversation.history) == 2 * TURNS
    assert [request.messages[-1].text for request in call.requests] == [f"Question {turn}?" for turn in range(TURNS)]  # type: ignore[union-attr]  # the caller's words
    assert not [event for event in call.client.received if event["type"] == "error"]
