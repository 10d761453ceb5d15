"""One response, event by event. (Whole calls stand in `tests/scenario`.)"""

import itertools

from server.conversation import events as e
from server.conversation.config import ResponseConfig
from server.conversation.history import History, Message
from server.conversation.response import Failure, Response
from server.conversation.writer import ResponseWriter
from server.llm.interface import Tool, Usage


def new_writer(history: History | None, config: ResponseConfig | None = None) -> ResponseWriter:
    ids = itertools.count(1)
    response = Response("resp", config or ResponseConfig())
    return ResponseWriter(response, history, lambda prefix: f"{prefix}_{next(ids)}")


def kinds(events: list[e.Event]) -> list[type]:
    return [type(event) for event in events]


def test_events_tell_how_things_stood_then() -> None:
    writer = new_writer(History())
    [created] = writer.start()
    events = list(writer.write("One."))
    list(writer.write("Two."))
    [*_, done] = writer.finish("completed", Usage(3, 4))
    assert isinstance(created, e.ResponseCreated)
    assert (created.response.status, created.response.output) == ("in_progress", [])
    added = next(event for event in events if isinstance(event, e.ItemAdded))
    assert added.item == Message("item_1", "assistant", [], "in_progress")
    assert isinstance(done, e.ResponseDone)
    assert done.response.usage == Usage(3, 4)
    assert [item.status for item in done.response.output] == ["completed"]


def test_a_snapshot_does_not_copy_the_settings() -> None:
    tools = (Tool("f", "", {"type": "object"}),)
    writer = new_writer(History(), ResponseConfig(tools=tools))
    [created] = writer.start()
    assert isinstance(created, e.ResponseCreated)
    assert created.response.config.tools is tools


def test_a_message_is_open_until_a_call_or_the_end() -> None:
    writer = new_writer(History())
    assert writer.message is None
    list(writer.write("One."))
    message = writer.message
    assert message is not None
    assert writer.place == e.Place("resp", message.id, 0)
    list(writer.call("call_1", "f"))
    assert writer.message is None
    assert (message.status, message.text) == ("completed", "One.")
    assert writer.place == e.Place("resp", "item_2", 1)
    list(writer.write("Two."))
    assert writer.place == e.Place("resp", "item_3", 2)


def test_outside_the_conversation_no_item_enters_it() -> None:
    writer = new_writer(None)
    events = [*writer.start(), *writer.write("One."), *writer.finish("completed", Usage())]
    assert kinds(events) == [
        e.ResponseCreated,
        e.OutputItemAdded,
        e.PartAdded,
        e.TextDelta,
        e.PartDone,
        e.OutputItemDone,
        e.ResponseDone,
    ]


def test_an_item_deleted_while_it_is_written_is_not_done_in_the_conversation() -> None:
    history = History()
    writer = new_writer(history)
    list(writer.write("One."))
    history.delete("item_1")
    assert kinds(list(writer.finish("completed", Usage()))) == [e.PartDone, e.OutputItemDone, e.ResponseDone]


def test_a_failure_is_told_at_the_end() -> None:
    writer = new_writer(History())
    list(writer.call("call_1", "f"))
    failure = Failure("timeout", "too slow")
    [arguments, _, _, done] = writer.finish("failed", Usage(), failure=failure)
    assert isinstance(arguments, e.ArgumentsDone)
    assert arguments.arguments == "{}"
    assert isinstance(done, e.ResponseDone)
    assert (done.response.failure, done.response.output[0].status) == (failure, "incomplete")
