"""A conversation as a ticket keeps it: nothing is lost on the way, and what is too long is cut."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.access.auth import Principal
from server.access.ticket_errors import TicketRefused, TicketTooLarge
from server.access.tickets import Ticket, TicketKeys, holder
from server.conversation.history import FunctionCall, FunctionCallOutput, Item, Message, Part
from server.conversation.snapshot import Snapshot, Speech, restored, saved_items
from server.dialects.openai.saved_call import SavedCall, decode, encode
from server.dialects.openai.session import Session
from server.dialects.openai.session_parts import FunctionTool
from server.llm.interface import Usage
from tests.support.call import Call

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
DONE = st.sampled_from(["completed", "incomplete"])
PARTS = st.builds(Part, st.sampled_from(["input_text", "input_audio", "output_text", "output_audio"]), TEXT)
ITEMS: st.SearchStrategy[Item] = st.one_of(
    st.builds(Message, TEXT, st.sampled_from(["user", "assistant", "system"]), st.lists(PARTS, max_size=3), DONE),
    st.builds(FunctionCall, TEXT, TEXT, TEXT, TEXT, DONE),
    st.builds(FunctionCallOutput, TEXT, TEXT, TEXT, DONE),
)
SPEECH = st.builds(
    Speech, TEXT, st.lists(st.tuples(TEXT, st.floats(0, 1e6))).map(tuple), st.floats(0, 1e6, allow_nan=False)
)
USAGE = st.builds(Usage, *3 * [st.integers(0, 1 << 40)])
MOST = 1 << 20


def session(**fields: object) -> Session:
    return Session(id="sess_1", model="voicefleet", instructions="Be brief.", **fields)  # type: ignore[arg-type]


@given(st.lists(ITEMS, max_size=20), st.lists(SPEECH, max_size=2), USAGE, st.sampled_from(["no", "due", "begun"]))
def test_any_history_comes_out_of_its_ticket_as_it_went_in(
    items: list[Item], speech: list[Speech], usage: Usage, answering: str
) -> None:
    snapshot = Snapshot(saved_items(items), tuple(speech), usage, answering)  # type: ignore[arg-type]
    tools = [FunctionTool("f", parameters={"z": {"type": "string"}, "a": {"type": "number"}})]
    state = encode(SavedCall(session(tools=tools), snapshot), MOST)
    keys, principal = TicketKeys(["secret"]), Principal("web", "token")
    ticket = Ticket(holder(principal), "sess_1", 1, 0, 0.0, msgspec.Raw(state))
    opened = decode(bytes(keys.open(keys.seal(ticket), principal, 0.0, 60.0).state))
    assert [restored(item) for item in opened.conversation.items] == items
    assert opened.conversation == snapshot
    assert opened.session == session(tools=tools)
    assert encode(opened, MOST) == state, "there is one way to write it"


@pytest.mark.parametrize(
    "unknown",
    [
        Message("m", "user", [Part("input_audio", None)]),
        FunctionCall("f", "call_1", "get", "{", "in_progress"),
    ],
)
def test_what_is_not_known_whole_is_left_out(unknown: Item) -> None:
    known = Message("k", "user", [Part("input_text", "hello")])
    assert [item.id for item in saved_items([unknown, known])] == ["k"]


def conversation(turns: int) -> Snapshot:
    items: list[Item] = [Message("s", "system", [Part("input_text", "Speak English.")])]
    for turn in range(turns):
        items.append(Message(f"u{turn}", "user", [Part("input_text", "Which one? " * 10)]))
        items.append(Message(f"a{turn}", "assistant", [Part("output_audio", "That one. " * 10)]))
    return Snapshot(saved_items(items), (Speech(f"a{turns - 1}", (("That one.", 0.6),), 0.1),))


def test_a_long_conversation_loses_its_oldest_turns_and_no_instruction() -> None:
    cut = decode(encode(SavedCall(session(), conversation(100)), 20_000))
    ids = [item.id for item in cut.conversation.items]
    assert ids[0] == "s"
    assert ids[1:] == [item.id for item in conversation(100).items][-len(ids) + 1 :]
    assert 0.7 * 20_000 < len(encode(cut, MOST)) <= 20_000
    assert cut.conversation.speech == conversation(100).speech


def test_speech_of_a_turn_that_is_cut_is_cut_too() -> None:
    spoken = (Speech("a0", (("That one.", 0.6),), 0.1),)
    short = msgspec.structs.replace(conversation(3), speech=spoken).shortened(10)
    assert (short.items[1].id, short.speech) == ("a0", spoken)
    assert msgspec.structs.replace(conversation(3), speech=spoken).shortened(250).speech == ()


def test_what_does_not_fit_is_refused_by_its_size() -> None:
    with pytest.raises(TicketTooLarge, match="takes at most 1,000"):
        encode(SavedCall(session(), conversation(100)), 1_000)
    with pytest.raises(TicketTooLarge):
        encode(SavedCall(session(truncation="disabled"), conversation(100)), 20_000)


def test_a_state_of_other_software_is_refused_as_of_another_version() -> None:
    with pytest.raises(TicketRefused) as refused:
        Call().dialect.resume(json.dumps(["later", "format"]).encode(), None, 0.0)
    assert refused.value.reason == "unknown_version"
