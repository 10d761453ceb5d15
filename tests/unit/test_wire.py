"""How a caller's audio goes over the wire."""

from base64 import b64decode
from json import loads

import numpy as np
import pytest

from server.audio.formats import AudioFormat
from server.client.caller import WIRE_RATE, Speech
from server.client.wire import BASE64, Wire

TONE = (8000 * np.sin(np.arange(WIRE_RATE) / 10)).astype(np.int16)


@pytest.mark.parametrize(
    ("url", "placed"),
    [
        ("ws://node/v1/realtime", "ws://node/v1/realtime?audio=binary"),
        ("wss://node/v1/realtime?model=a%20b", "wss://node/v1/realtime?model=a+b&audio=binary"),
        ("ws://node/v1/realtime?audio=binary", "ws://node/v1/realtime?audio=binary"),
    ],
)
def test_a_binary_call_says_so_in_its_address(url: str, placed: str) -> None:
    assert Wire(binary=True).address(url) == placed
    assert BASE64.address(url) == url


@pytest.mark.parametrize("format", [AudioFormat.of("audio/pcm"), AudioFormat.of("audio/pcmu")], ids=lambda f: f.type)
def test_what_is_said_is_the_same_audio_in_events_and_in_binary_messages(format: AudioFormat) -> None:
    speech = Speech(TONE[:-100])
    binary, events = (speech.messages(Wire(format, binary)) for binary in (True, False))
    assert len(binary) == 50
    assert {len(message) for message in binary} == {format.bytes_per_second // 50}
    assert [b64decode(loads(message)["audio"]) for message in events] == binary


def test_an_answer_is_heard_as_it_was_spoken() -> None:
    assert np.array_equal(BASE64.samples(TONE.tobytes()), TONE)
