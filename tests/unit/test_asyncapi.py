"""`docs/asyncapi.yaml`: every event of the code is in it, with an example that it allows."""

import json
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator

from server.dialects.openai.client_events import CLIENT_EVENT_TYPES, ClientEvent, decode
from server.dialects.openai.server_events import SERVER_EVENTS, ServerEvent
from server.docs.asyncapi import DIALECTS, document, tag_of
from server.docs.events_page import events_page
from tests.support.call import Call

_DOCUMENT = document()
_MESSAGES: dict[str, Any] = _DOCUMENT["components"]["messages"]


def _validator(payload: Any) -> Draft202012Validator:
    return Draft202012Validator({**payload, "components": _DOCUMENT["components"]})


def _references(part: Any) -> list[str]:
    if isinstance(part, list):
        return [each for inner in part for each in _references(inner)]
    if not isinstance(part, dict):
        return []
    own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
    return own + [each for inner in part.values() for each in _references(inner)]


def test_every_event_is_in_it() -> None:
    expected = [f"realtime.client.{name}" for name in CLIENT_EVENT_TYPES]
    expected += [f"realtime.server.{tag_of(kind)}" for kind in SERVER_EVENTS]
    assert [name for name in _MESSAGES if name.startswith("realtime.")] == expected
    assert len(get_args(ClientEvent)) == len(CLIENT_EVENT_TYPES)
    assert len(set(expected)) == len(expected)
    assert ServerEvent not in SERVER_EVENTS


def test_every_message_belongs_to_a_channel_and_to_an_operation() -> None:
    of_channels = [name for channel in _DOCUMENT["channels"].values() for name in channel["messages"]]
    of_operations = [
        reference["$ref"].rpartition("/")[2]
        for operation in _DOCUMENT["operations"].values()
        for reference in operation["messages"]
    ]
    assert sorted(of_channels) == sorted(of_operations) == sorted(_MESSAGES)
    assert list(_DOCUMENT["channels"]) == [dialect.name for dialect in DIALECTS]


def test_every_reference_leads_to_something() -> None:
    for reference in set(_references(_DOCUMENT)):
        place: Any = _DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


@pytest.mark.parametrize("name", _MESSAGES)
def test_its_example_is_what_the_schema_allows(name: str) -> None:
    message = _MESSAGES[name]
    assert message["summary"]
    _validator(message["payload"]).validate(message["examples"][0]["payload"])


def test_what_is_said_on_a_call_is_what_the_schemas_allow() -> None:
    call = Call(audio={"input": {"transcription": {}}}, tools=[{"type": "function", "name": "look"}])
    call.turn("hello", "Hi.")
    call.caller_says("what is there")
    call.silence(1.0)
    call.bot_calls("look", "{}")
    call.bot_finishes("tool_calls")
    call.client_sends("response.cancel")
    for event in call.client.received:
        _validator(_MESSAGES[f"realtime.server.{event['type']}"]["payload"]).validate(event)


@pytest.mark.parametrize("name", CLIENT_EVENT_TYPES)
def test_the_examples_of_client_events_are_read(name: str) -> None:
    decode(json.dumps(_MESSAGES[f"realtime.client.{name}"]["examples"][0]["payload"]))


def test_the_page_tells_each_event_and_each_object() -> None:
    page = events_page(_DOCUMENT)
    for message in _MESSAGES.values():
        assert f"#### `{message['name']}`" in page
    for name in ("Session", "TranscriptionSession", "ResponseParams", "Usage"):
        assert f"### {name}\n" in page
