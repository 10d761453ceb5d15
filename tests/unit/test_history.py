"""The row of items, and how a language model sees it."""

import pytest

from server.conversation.errors import DuplicateItem, ItemNotFound
from server.conversation.history import (
    ROOT,
    FunctionCall,
    FunctionCallOutput,
    History,
    Item,
    Message,
    Part,
    chat_messages,
)
from server.llm.interface import AssistantText, SystemText, ToolCall, ToolResult, UserText


def said(item_id: str, text: str | None = "hello") -> Message:
    return Message(item_id, "user", [Part("input_text", text)])


def test_items_are_placed_at_the_end_at_the_start_or_after_another() -> None:
    history = History()
    assert history.insert(said("b")) is None
    assert history.insert(said("d"), after=None) == "b"
    assert history.insert(said("a"), after=ROOT) is None
    assert history.insert(said("c"), after="b") == "b"
    assert [item.id for item in history] == ["a", "b", "c", "d"]
    assert [history.previous_id(item_id) for item_id in "abcd"] == [None, "a", "b", "c"]


def test_ids_are_unique() -> None:
    history = History()
    history.insert(said("a"))
    with pytest.raises(DuplicateItem, match="'a' is in this conversation already"):
        history.insert(said("a"))
    assert len(list(history)) == 1


def test_what_is_not_there_is_named() -> None:
    history = History()
    with pytest.raises(ItemNotFound, match="no item 'a'") as missing:
        history.get("a")
    assert missing.value.param == "item_id"
    with pytest.raises(ItemNotFound, match="no item 'b'") as missing:
        history.insert(said("a"), after="b")
    assert missing.value.param == "previous_item_id"
    with pytest.raises(ItemNotFound):
        history.delete("a")
    assert "a" not in history


def test_a_deleted_item_is_gone() -> None:
    history = History()
    item = said("a")
    history.insert(item)
    assert history.get("a") is item
    history.delete("a")
    assert "a" not in history


def test_what_came_after_an_item_is_known() -> None:
    history = History()
    for name in ("a", "b", "c"):
        history.insert(Message(name, "user"))
    assert [item.id for item in history.after("a")] == ["b", "c"]
    assert list(history.after("c")) == []
    with pytest.raises(ItemNotFound):
        list(history.after("d"))


def test_a_model_sees_what_has_words_and_what_was_called() -> None:
    items: list[Item] = [
        Message("1", "system", [Part("input_text", "Be brief.")]),
        Message("2", "user", [Part("input_audio", None)]),  # its words are awaited
        Message("3", "user", [Part("input_audio", "")]),  # noise
        Message("4", "user", [Part("input_audio", "hello"), Part("input_text", "there")]),
        Message("5", "assistant", [Part("output_audio", "Hi.")], "incomplete"),
        Message("6", "assistant"),
        FunctionCall("7", "call_1", "f"),
        FunctionCall("8", "call_2", "g", '{"a', "incomplete"),
        FunctionCallOutput("9", "call_1", "done"),
    ]
    assert chat_messages(items) == [
        SystemText("Be brief."),
        UserText("hello there"),
        AssistantText("Hi."),
        ToolCall("call_1", "f", "{}"),
        ToolResult("call_1", "done"),
    ]


def test_what_somebody_said_last_is_known_whatever_came_after() -> None:
    history = History()
    assert history.latest("assistant") == ""
    for item in (
        Message("a", "assistant", [Part("output_text", "Which number?")]),
        FunctionCallOutput("b", "call_1", "{}"),
        Message("c", "user", [Part("input_text", "four")]),
    ):
        history.insert(item)
    assert history.latest("assistant") == "Which number?"
    assert history.latest("user") == "four"
    assert history.latest("system") == ""
