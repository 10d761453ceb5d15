"""Which of two protocols a connection speaks, by its first line."""

import pytest

from server.front_door import is_http


@pytest.mark.parametrize(
    "line",
    [
        b"POST /v1/realtime/client_secrets HTTP/1.1",
        b"POST /v1/realtime HTTP/1.1",
        b"OPTIONS /v1/audio/speech HTTP/1.1",
        b"HEAD /v1/models HTTP/1.1",
        b"GET /v1/models HTTP/1.1",
        b"GET /v1/models/tiny.en?x=1 HTTP/1.1",
        b"GET /openai/v1/models HTTP/1.1",
        b"GET /v1/files HTTP/1.1",
        b"DELETE / HTTP/1.1",
    ],
)
def test_it_asks_for_http(line: bytes) -> None:
    assert is_http(line)


@pytest.mark.parametrize(
    "line",
    [
        b"GET /v1/realtime HTTP/1.1",
        b"GET /v1/realtime?model=gpt-realtime&resume=abc HTTP/1.1",
        b"GET /v1/realtime/ HTTP/1.1",
        b"GET /openai/v1/realtime HTTP/1.1",
        b"GET /twilio HTTP/1.1",
        b"GET / HTTP/1.1",
        b"GET /v1 HTTP/1.1",
        b"get /v1/models HTTP/1.1",
        b"GET",
        b"",
        b"\r",
        b"HELLO",
        b"EHLO example.org",
        b"\x16\x03\x01\x00\x05" + bytes(5),
        "POST /v1/modèles".encode()[:4],
    ],
)
def test_it_is_for_the_websocket_side_to_serve_or_to_refuse(line: bytes) -> None:
    assert not is_http(line)
