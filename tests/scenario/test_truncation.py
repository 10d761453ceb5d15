"""A conversation that outgrows what the language model can read."""

from itertools import pairwise
from typing import Any

import pytest

from server.conversation import commands as c
from server.llm.interface import AssistantText, ChatRequest, Finished, SystemText, ToolCall, ToolResult, Usage, UserText
from server.llm.shortening import message_tokens
from tests.support.call import Call

WORDS = "one two three four five six seven eight nine ten"


def limited(post_instructions: int, retention_ratio: float = 0.5, **session: Any) -> Call:
    limits = {"post_instructions": post_instructions}
    truncation = {"type": "retention_ratio", "retention_ratio": retention_ratio, "token_limits": limits}
    return Call(truncation=truncation, **session)


def typed(call: Call, text: str, answer: str, input_tokens: int = 0) -> ChatRequest:
    """A turn in writing; gives what the model was asked. The provider counts no tokens unless it is said how many."""
    content = [{"type": "input_text", "text": text}]
    call.client_sends("conversation.item.create", item={"type": "message", "role": "user", "content": content})
    call.client_sends("response.create", response={"output_modalities": ["text"]})
    assert call.answering
    call.bot_writes(answer)
    call._perform(call.conversation.finish(call.answering, Finished("stop", Usage(input_tokens)), call.now))
    return call.requests[-1]


def size(request: ChatRequest) -> int:
    return sum(map(message_tokens, request.messages))


def test_the_oldest_items_are_left_out_once_the_limit_is_exceeded() -> None:
    call = limited(200)
    requests = [typed(call, f"{number} {WORDS}", f"Answer {number}.") for number in range(30)]
    assert all(size(request) <= 200 for request in requests)
    assert all(request.messages[-1] == UserText(f"{number} {WORDS}") for number, request in enumerate(requests))
    assert len(call.conversation.history) == 60, "what the model is not shown is not forgotten"


def test_what_is_kept_begins_alike_for_as_long_as_it_fits() -> None:
    """So that the prompt cache of the model is spoiled once in a while and not with every turn."""
    call = limited(400, retention_ratio=0.5)
    beginnings = [typed(call, f"{number} {WORDS}", f"Answer {number}.").messages[0] for number in range(40)]
    changes = sum(one != other for one, other in pairwise(beginnings[10:]))
    assert 0 < changes <= 10


def test_the_part_that_is_kept_follows_the_ratio() -> None:
    for ratio in (0.0, 0.3, 0.8):
        call = limited(400, retention_ratio=ratio)
        sizes = [size(typed(call, f"{number} {WORDS}", f"Answer {number}.")) for number in range(40)]
        after_a_cut = [after for before, after in pairwise(sizes) if after < before]
        newest = message_tokens(UserText(f"39 {WORDS}"))
        assert after_a_cut
        assert all(after <= max(ratio * 400, newest) for after in after_a_cut)


def test_instructions_of_the_application_and_the_newest_turn_stay_whatever_the_limit() -> None:
    call = limited(1)
    rule = {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "The caller is Ann."}]}
    call.client_sends("conversation.item.create", item=rule)
    for number in range(3):
        request = typed(call, f"{number} {WORDS}", "Yes.")
    assert list(request.messages) == [SystemText("The caller is Ann."), UserText(f"2 {WORDS}")]
    assert request.instructions == "Be brief."


def test_a_call_and_its_result_are_left_out_as_one() -> None:
    call = limited(150)
    for number in range(12):
        typed(call, f"{number} {WORDS}", "Let me look.")
        call_id = f"call_{number}"
        item = {"type": "function_call", "name": "look", "arguments": "{}", "call_id": call_id}
        call.client_sends("conversation.item.create", item=item)
        call.client_sends(
            "conversation.item.create", item={"type": "function_call_output", "call_id": call_id, "output": WORDS}
        )
        messages = typed(call, "Well?", "Nothing.").messages
        calls = {message.call_id for message in messages if isinstance(message, ToolCall)}
        results = {message.call_id for message in messages if isinstance(message, ToolResult)}
        assert calls == results


def test_the_providers_own_counts_correct_the_estimate() -> None:
    """A model that cuts text into twice as many tokens is shown half as much of it."""
    kept = {}
    for factor in (0.5, 1.0, 2.0):
        call = limited(300)
        for number in range(30):
            request = typed(call, f"{number} {WORDS}", "Yes.", input_tokens=30)
            call._perform(call.conversation.respond(call.conversation.config.response, now=call.now))
            assert call.answering
            estimate = 4 + size(call.requests[-1])  # the instructions are two words
            usage = Usage(round(factor * estimate))
            call._perform(call.conversation.finish(call.answering, Finished("stop", usage), call.now))
        kept[factor] = size(request)
    assert kept[0.5] > kept[1.0] > kept[2.0]


def test_what_is_asked_beside_the_conversation_leaves_the_estimate_of_an_answer_alone() -> None:
    def scale(call: Call, beside: bool) -> float:
        call.client_adds(WORDS)
        call.client_sends("response.create")
        if beside:
            call.client_sends("response.create", response={"conversation": "none", "instructions": WORDS * 50})
        call.bot_turns_to(str(call.client.active))
        call._perform(call.conversation.finish(str(call.answering), Finished("stop", Usage(100)), call.now))
        return call.conversation._turns.context._scale

    assert scale(Call(), beside=True) == scale(Call(), beside=False) != 1.0


def test_a_provider_that_refuses_is_asked_less_from_then_on() -> None:
    """livekit/agents#3304: a history beyond the model's context ends every later answer."""
    call = Call()
    for number in range(10):
        typed(call, f"{number} {WORDS}", "Yes.")
    call.client_sends("response.create", response={"output_modalities": ["text"]})
    refused = call.requests[-1]
    assert call.answering
    call._perform(call.conversation.shortened(call.answering, frozenset(range(12))))
    call.bot_writes("Yes.")
    call._perform(call.conversation.finish(call.answering, Finished("stop"), call.now))
    assert [left.count for left in call.commands(c.ItemsLeftOut)] == [12]
    asked = typed(call, "And now?", "Fine.").messages
    assert list(asked) == [*refused.messages[12:], AssistantText("Yes."), UserText("And now?")]
    for number in range(10):
        assert size(typed(call, f"{number} {WORDS}", "Yes.")) < size(refused)


def test_without_truncation_everything_is_sent_and_may_not_be_shortened() -> None:
    call = Call(truncation="disabled")
    for number in range(30):
        request = typed(call, f"{number} {WORDS * 20}", "Yes." * 300)
    assert len(request.messages) == 59
    assert not request.may_be_shortened


def test_a_request_of_another_kind_that_is_refused_says_nothing_of_the_conversation() -> None:
    call = Call()
    typed(call, "Hello", "Hi.")
    call.client_sends("response.create", response={"input": []})
    assert call.answering
    call._perform(call.conversation.shortened(call.answering, frozenset({0})))
    call.bot_finishes()
    assert len(typed(call, "And now?", "Fine.").messages) == 3


def test_what_comes_for_an_answer_that_has_ended_is_dropped() -> None:
    call = Call()
    call.client_sends("response.create")
    ended = call.answering
    assert ended
    call.bot_finishes()
    assert call.conversation.shortened(ended, frozenset({0})) == []
    assert call.conversation.unspoken(ended, "Hello.") == []


def test_what_a_response_is_given_itself_is_never_left_out() -> None:
    call = limited(20)
    items = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": f"{number} {WORDS}"}]}
        for number in range(5)
    ]
    call.client_sends("response.create", response={"conversation": "none", "input": items})
    assert len(call.asked) == 5


@pytest.mark.parametrize(
    ("truncation", "param"),
    [
        ("sometimes", "session.truncation"),
        ({"type": "retention_ratio", "retention_ratio": 1.1}, "session.truncation.retention_ratio"),
        ({"type": "retention_ratio"}, "session.truncation"),
        ({"type": "last_messages", "retention_ratio": 1}, "session.truncation.type"),
        (
            {"type": "retention_ratio", "retention_ratio": 1, "token_limits": {"post_instructions": 0}},
            "session.truncation.token_limits.post_instructions",
        ),
    ],
)
def test_a_wrong_rule_is_refused_by_name(truncation: Any, param: str) -> None:
    call = Call()
    [error] = call.client_sends("session.update", session={"truncation": truncation})
    assert error["error"]["param"] == param


def test_of_items_that_were_deleted_nothing_is_kept() -> None:
    """A client that adds, asks and deletes for hours holds no more than what is there."""
    call = limited(100)
    for _ in range(20):
        typed(call, WORDS * 5, "Yes.")
        for item in list(call.conversation.history):
            call.client_sends("conversation.item.delete", item_id=item.id)
    typed(call, "Hi.", "Yes.")
    context = call.conversation._turns.context
    assert (len(context._known), len(context._gone)) == (1, 0)
