"""Twilio's messages: each shape of its documentation, and how a call ends that has others."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.dialects.dialect import AudioReceived, ClientAtFault, Fault, FieldsIgnored
from server.dialects.twilio import messages as m
from server.dialects.twilio.faults import read
from server.dialects.twilio.opening import Opening
from server.observability import metrics
from tests.support.twilio_call import TwilioCall
from tests.support.twilio_messages import (
    ACCOUNT,
    CALL,
    CONNECTED,
    DTMF,
    MARK,
    MEDIA,
    OUTBOUND_MEDIA,
    SENT_CLEAR,
    SENT_MARK,
    SENT_MEDIA,
    START,
    STOP,
    STREAM,
    media,
)

_AUDIO = b"\x9e\x8f\x89\x86\x86\x89\x8e\x9c\xd2"
_DETAILS = m.StreamDetails(
    STREAM,
    ACCOUNT,
    CALL,
    ["inbound"],
    m.MediaFormat("audio/x-mulaw", 8000, 1),
    {"FirstName": "Jane", "LastName": "Doe", "RemoteParty": "Bob"},
)


@pytest.mark.parametrize(
    ("message", "read_as"),
    [
        (CONNECTED, m.Connected("Call", "1.0.0")),
        (START, m.Start(_DETAILS, STREAM)),
        (MEDIA, m.Media(m.InboundAudio(_AUDIO, "inbound"), STREAM)),
        (MARK, m.Mark(m.MarkName("my label"), STREAM)),
        (DTMF, m.Dtmf(m.Key("1"), STREAM)),
        (STOP, m.Stop(m.Stopped(ACCOUNT, CALL), STREAM)),
    ],
    ids=lambda value: value["event"] if isinstance(value, dict) else "",
)
def test_each_message_of_the_documentation_is_read(message: dict[str, Any], read_as: m.TwilioMessage) -> None:
    assert read(json.dumps(message)) == read_as


@pytest.mark.parametrize(
    ("message", "sent"),
    [
        (m.OutboundMedia(STREAM, m.OutboundAudio(b"k}\xb8\xda\xc6\x80")), SENT_MEDIA),
        (m.Mark(m.MarkName("my label"), STREAM), SENT_MARK),
        (m.Clear(STREAM), SENT_CLEAR),
    ],
    ids=["media", "mark", "clear"],
)
def test_what_is_sent_has_the_shape_of_the_documentation(message: m.ServerMessage, sent: dict[str, Any]) -> None:
    assert json.loads(m.encode(message)) == sent


def test_parameters_may_be_missing() -> None:
    details = {name: value for name, value in START["start"].items() if name != "customParameters"}
    opening = Opening()
    opening.receive(json.dumps(CONNECTED))
    started = opening.receive(json.dumps(START | {"start": details}))
    assert started
    assert started.custom_parameters == {}


def without(message: dict[str, Any], *path: str) -> dict[str, Any]:
    """The message without the field at `path`."""
    head, *rest = path
    if rest:
        return message | {head: without(message[head], *rest)}
    return {name: value for name, value in message.items() if name != head}


_BAD: list[tuple[str | bytes, str, int]] = [
    (b"\x00\x01", "binary_message", 1003),
    (json.dumps(MEDIA).encode(), "binary_message", 1003),
    ("", "invalid_message", 1007),
    ("{", "invalid_message", 1007),
    ('"media"', "invalid_message", 1007),
    ("[]", "invalid_message", 1007),
    ("{}", "invalid_message", 1007),
    ('{"event": null}', "invalid_message", 1007),
    ('{"event": 5}', "invalid_message", 1007),
    ('{"event": "mark", "mark": {"name": "\\ud800"}}', "invalid_message", 1007),
    ('{"event": "media", "x": ' + "[" * 50_000 + "]" * 50_000 + "}", "invalid_message", 1007),
    *(
        (json.dumps(bad), "invalid_message", 1007)
        for bad in [
            without(CONNECTED, "protocol"),
            without(START, "start"),
            without(START, "streamSid"),
            without(START, "start", "callSid"),
            without(START, "start", "mediaFormat"),
            START | {"start": START["start"] | {"tracks": ["both"]}},
            START | {"start": START["start"] | {"customParameters": {"greeting": 5}}},
            without(MEDIA, "media"),
            without(MEDIA, "streamSid"),
            without(MEDIA, "media", "payload"),
            MEDIA | {"media": {"payload": "####"}},
            MEDIA | {"media": {"payload": "AAA"}},
            MEDIA | {"media": {"payload": "AAAA", "track": "sideways"}},
            without(MARK, "mark"),
            MARK | {"mark": {"name": 1}},
            without(DTMF, "dtmf"),
            DTMF | {"dtmf": {"digit": "12"}},
            DTMF | {"dtmf": {"digit": 1}},
            without(STOP, "stop"),
            SENT_CLEAR | {"event": "start"},
        ]
    ),
]


@pytest.mark.parametrize(("message", "fault", "close_code"), _BAD)
def test_a_bad_message_is_refused_by_name(message: str | bytes, fault: str, close_code: int) -> None:
    with pytest.raises(ClientAtFault) as refused:
        read(message)
    assert (refused.value.fault, refused.value.close_code) == (fault, close_code)


def test_a_refusal_says_what_is_wrong_and_quotes_nothing() -> None:
    with pytest.raises(ClientAtFault, match=r"`\$\.dtmf\.digit`") as refused:
        read(json.dumps(DTMF | {"dtmf": {"digit": "secret"}}))
    assert "secret" not in str(refused.value)


def test_a_message_that_twilio_may_add_some_day_is_passed_over() -> None:
    assert read('{"event": "weather", "streamSid": "MZ"}') is None
    opening = Opening()
    for event in ({"event": "weather"}, CONNECTED, {"event": "weather"}):
        assert opening.receive(json.dumps(event)) is None
    assert opening.receive(json.dumps(START))
    call = TwilioCall()
    assert call.dialect.receive('{"event": "weather"}', call.now) == [FieldsIgnored(("event",))]


def test_every_fault_is_counted_from_the_start() -> None:
    [family] = metrics.client_faults.collect()
    assert {sample.labels["fault"] for sample in family.samples} == set(get_args(Fault))


# --- the order


@pytest.mark.parametrize(
    "messages",
    [
        [START],
        [MEDIA],
        [DTMF],
        [STOP],
        [CONNECTED, CONNECTED],
        [CONNECTED, MEDIA],
        [CONNECTED, MARK],
        [CONNECTED, STOP],
    ],
    ids=lambda messages: "-".join(message["event"] for message in messages),
)
def test_before_the_start_there_is_one_order(messages: list[dict[str, Any]]) -> None:
    opening = Opening()
    *before, last = map(json.dumps, messages)
    for message in before:
        opening.receive(message)
    with pytest.raises(ClientAtFault, match=r"takes '(connected|start)'") as refused:
        opening.receive(last)
    assert (refused.value.fault, refused.value.close_code) == ("out_of_order", 1002)


@pytest.mark.parametrize(
    "changed", [{"encoding": "audio/x-alaw"}, {"sampleRate": 16000}, {"channels": 2}], ids=["alaw", "16 kHz", "stereo"]
)
def test_audio_of_another_kind_is_refused(changed: dict[str, Any]) -> None:
    details = START["start"] | {"mediaFormat": START["start"]["mediaFormat"] | changed}
    opening = Opening()
    opening.receive(json.dumps(CONNECTED))
    with pytest.raises(ClientAtFault, match="audio/x-mulaw") as refused:
        opening.receive(json.dumps(START | {"start": details}))
    assert (refused.value.fault, refused.value.close_code) == ("media_format", 1003)


def test_a_start_of_two_streams_is_refused() -> None:
    opening = Opening()
    opening.receive(json.dumps(CONNECTED))
    with pytest.raises(ClientAtFault, match="streamSid"):
        opening.receive(json.dumps(START | {"streamSid": "MZ0"}))


@pytest.mark.parametrize("message", [CONNECTED, START], ids=["connected", "start"])
def test_after_the_start_there_is_no_other(message: dict[str, Any]) -> None:
    call = TwilioCall()
    with pytest.raises(ClientAtFault) as refused:
        call.twilio_sends(message)
    assert (refused.value.fault, refused.value.close_code) == ("out_of_order", 1002)


def test_a_message_of_another_stream_is_refused() -> None:
    call = TwilioCall()
    with pytest.raises(ClientAtFault) as refused:
        call.twilio_sends(MEDIA | {"streamSid": "MZ0"})
    assert (refused.value.fault, refused.value.close_code) == ("foreign_stream", 1002)


def test_audio_that_comes_faster_than_it_can_be_spoken_is_refused() -> None:
    call = TwilioCall()
    with pytest.raises(ClientAtFault, match="too fast") as refused:
        call.twilio_sends(media(bytes(8000 * 121)))
    assert (refused.value.fault, refused.value.close_code) == ("audio_rate", 1008)


# --- what they mean


def test_the_caller_s_audio_is_heard_and_our_own_is_not() -> None:
    call = TwilioCall()
    assert call.dialect.receive(json.dumps(MEDIA), call.now) == [AudioReceived(_AUDIO)]
    assert call.dialect.receive(json.dumps(OUTBOUND_MEDIA), call.now) == []


def test_nothing_is_done_after_the_stop() -> None:
    call = TwilioCall()
    call.twilio_sends(STOP)
    for message in (MEDIA, MARK, DTMF | {"dtmf": {"digit": "#"}}):
        assert call.dialect.receive(json.dumps(message), call.now) == []


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from([CONNECTED, START, MEDIA, MARK, DTMF, STOP]), st.data())
def test_whatever_is_changed_in_a_message_is_taken_or_refused(message: dict[str, Any], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(message)))
    changed = json.dumps(message | {name: data.draw(_JSON)})
    with suppress(ClientAtFault):
        Opening().receive(changed)
    with suppress(ClientAtFault):
        TwilioCall().dialect.receive(changed, 1000.0)


def test_a_stream_has_no_tickets() -> None:
    dialect = TwilioCall().dialect
    assert not dialect.can_resume
    questions: list[Callable[[], object]] = [
        lambda: dialect.state(1000.0, 1 << 20),
        lambda: dialect.resume(b"", None, 1000.0),
        lambda: dialect.refuse(ClientAtFault("no_start", 1008, "")),
    ]
    for ask in questions:
        with pytest.raises(AssertionError, match="can't be resumed"):
            ask()
