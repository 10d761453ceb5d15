"""Whatever bytes come instead of a handshake or of frames, they get the right HTTP status or close code, and the node
serves the next call."""

import json
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.live_call import exchange, frame, handshake, live_call, serves
from tests.support.node import NodeProcess

pytestmark = pytest.mark.usefixtures("dawdler", "no_error_logged")

CONTINUATION, TEXT, CLOSE, PING = 0, 1, 8, 9
MAX_MESSAGE = 1_048_576  # VOICE_MAX_MESSAGE_BYTES as the node has it
HUNG_UP = b""  # bytes that are no HTTP get no answer in HTTP


@pytest.fixture(scope="module")
def dawdler(node: NodeProcess) -> Iterator[socket.socket]:
    """A caller who has begun a handshake and does not go on with it; the tests of this module run meanwhile."""
    address = urlsplit(node.websocket)
    with socket.create_connection((address.hostname, address.port), timeout=15.0) as connection:
        connection.sendall(handshake(node.websocket)[:-2])
        yield connection


async def test_an_event_in_many_fragments_with_a_ping_in_between_is_an_event(node: NodeProcess) -> None:
    async with live_call(node.websocket) as call:
        first, *rest = b'{"type": "conversation.item.retrieve", "item_id": "gone"}'
        await call.send_frame(TEXT, bytes([first]), fin=False)
        for byte in rest:
            await call.send_frame(PING, b"still there?")
            await call.send_frame(CONTINUATION, bytes([byte]), fin=False)
        await call.send_frame(CONTINUATION, b"")
        assert (await call.error())["code"] == "item_not_found"
        assert await call.ask("ping") == "You said: ping"


@pytest.mark.parametrize(
    ("sent", "close_code"),
    [
        pytest.param(frame(TEXT, b"{}", reserved=4), 1002, id="reserved bit of compression"),
        pytest.param(frame(TEXT, b"{}", reserved=1), 1002, id="reserved bit"),
        pytest.param(frame(3, b""), 1002, id="reserved opcode"),
        pytest.param(frame(11, b""), 1002, id="reserved control opcode"),
        pytest.param(frame(TEXT, b"{}", masked=False), 1002, id="unmasked"),
        pytest.param(frame(PING, bytes(126)), 1002, id="long ping"),
        pytest.param(frame(PING, b"", fin=False), 1002, id="fragmented ping"),
        pytest.param(frame(CONTINUATION, b"{}"), 1002, id="continuation of nothing"),
        pytest.param(frame(TEXT, b"{", fin=False) + frame(TEXT, b"}"), 1002, id="message inside a message"),
        pytest.param(frame(CLOSE, b"\x03"), 1002, id="close code of one byte"),
        pytest.param(frame(CLOSE, (1005).to_bytes(2)), 1002, id="close code that may not be sent"),
        pytest.param(frame(CLOSE, (1000).to_bytes(2) + b"\xff"), 1007, id="close reason that is no UTF-8"),
        pytest.param(frame(TEXT, b'{"type": "\xff"}'), 1007, id="no UTF-8"),
        pytest.param(frame(TEXT, b'"\xed\xa0\x80"'), 1007, id="surrogate in UTF-8"),
        pytest.param(frame(TEXT, b'"\xc3', fin=False) + frame(CONTINUATION, b'"'), 1007, id="UTF-8 cut by a fragment"),
        pytest.param(b"\x81\xff" + (MAX_MESSAGE + 1).to_bytes(8), 1009, id="too large by a byte, not yet sent"),
        pytest.param(b"\x81\xff" + (2**62).to_bytes(8), 1009, id="length of exabytes"),
        pytest.param(
            frame(TEXT, b" " * 60_000, fin=False) + frame(CONTINUATION, b" " * 60_000, fin=False) * 20,
            1009,
            id="too large in small fragments",
        ),
        pytest.param(frame(CLOSE, (1000).to_bytes(2)), 1000, id="goodbye"),
        pytest.param(frame(CLOSE, (4999).to_bytes(2)), 4999, id="goodbye with a code of the client's own"),
    ],
)
async def test_a_wrong_frame_closes_its_call_with_the_right_code(
    node: NodeProcess, sent: bytes, close_code: int
) -> None:
    async with live_call(node.websocket) as bystander:
        async with live_call(node.websocket) as call:
            await call.send_bytes(sent)
            assert await call.closed() == close_code
        assert await bystander.ask("ping") == "You said: ping"
    assert await serves(node.websocket)


async def test_the_largest_message_is_taken_and_one_byte_more_is_not(node: NodeProcess) -> None:
    largest = json.dumps({"type": "response.cancel"})
    largest += " " * (MAX_MESSAGE - len(largest))
    async with live_call(node.websocket) as call:
        await call.connection.send(largest)
        assert (await call.error())["code"] == "response_cancel_not_active"
        await call.connection.send(largest + " ")
        assert await call.closed() == 1009
    assert await serves(node.websocket)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        pytest.param({"Upgrade": ""}, 426, id="plain HTTP"),
        pytest.param({"Connection": "keep-alive"}, 426, id="no connection upgrade"),
        pytest.param({"Upgrade": "h2c"}, 426, id="upgrade to something else"),
        pytest.param({"Sec_WebSocket_Version": "8"}, 400, id="old version"),
        pytest.param({"Sec_WebSocket_Key": ""}, 400, id="no key"),
        pytest.param({"Sec_WebSocket_Key": "c2hvcnQ="}, 400, id="short key"),
        pytest.param({"Sec_WebSocket_Protocol": "graphql-ws"}, 400, id="other subprotocol"),
        pytest.param({"Sec_WebSocket_Protocol": ",, @"}, 400, id="no subprotocol name"),
        pytest.param({"Origin": "https://elsewhere.example"}, 403, id="page of another site"),
        pytest.param({"Origin": "http://[::1"}, 403, id="origin that is no URL"),
        pytest.param({"Origin": "null"}, 403, id="page without an origin"),
        pytest.param({"X_Long": "a" * 10_000}, 431, id="long header"),
        pytest.param({f"X_{number}": "a" for number in range(200)}, 431, id="many headers"),
    ],
)
async def test_a_wrong_handshake_gets_its_http_status(node: NodeProcess, changes: dict[str, str], status: int) -> None:
    answer = await exchange(node.websocket, handshake(node.websocket, **changes))
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"Traceback" not in answer
    assert await serves(node.websocket)


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/realtimes", "/v1/completions", "//[v1/realtime", "/v1/realtime;x"])
async def test_another_path_is_not_found(node: NodeProcess, path: str) -> None:
    asked = handshake(node.websocket, Connection="close, Upgrade").replace(b"/v1/realtime", path.encode())
    assert (await exchange(node.websocket, asked)).startswith(b"HTTP/1.1 404 ")


async def test_two_origins_are_refused(node: NodeProcess) -> None:
    asked = handshake(node.websocket, Origin="http://localhost")
    asked = asked.replace(b"Origin:", b"Origin: https://elsewhere.example\r\nOrigin:")
    assert (await exchange(node.websocket, asked)).startswith(b"HTTP/1.1 403 ")
    assert await serves(node.websocket)


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        pytest.param(
            b"POST /v1/realtime HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"HTTP/1.1 405 ", id="wrong method"
        ),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 404 ", id="a browser"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HUNG_UP, id="HTTP/2"),
        pytest.param(b"\x00\xff garbage\r\n\r\n", HUNG_UP, id="garbage"),
        pytest.param(bytes.fromhex("160301000a") + b"0123456789\n", HUNG_UP, id="TLS to a plain port"),
        pytest.param(b"a" * 100_000, b"HTTP/1.1 414 ", id="a line without an end"),
        pytest.param(b"GET /v1/realtime\xff HTTP/1.1\r\n\r\n", b"HTTP/1.0 400 ", id="path that is no ASCII"),
    ],
)
async def test_what_is_no_handshake_is_turned_away(node: NodeProcess, sent: bytes, answer: bytes) -> None:
    given = await exchange(node.websocket, sent)
    assert given.startswith(answer)
    assert bool(given) == bool(answer)
    assert await serves(node.websocket)


@settings(max_examples=50, derandomize=True)
@given(
    sent=st.binary(max_size=200)
    | st.builds(frame, st.integers(0, 15), st.binary(max_size=200), fin=st.booleans(), reserved=st.integers(0, 7))
)
async def test_no_bytes_after_the_handshake_harm_the_node(node: NodeProcess, sent: bytes) -> None:
    async with live_call(node.websocket) as call:
        await call.send_bytes(sent)
        call.reset()
    assert await serves(node.websocket)


async def test_a_handshake_that_does_not_come_to_its_end_is_given_up(dawdler: socket.socket, node: NodeProcess) -> None:
    assert await serves(node.websocket)
    assert dawdler.recv(1) == b""
