"""Who gets into the HTTP API, from where and how many; and what clients do to its port that no library would."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from server.access.auth import mint_token
from tests.support.live_call import exchange, live_call, refusal, serves
from tests.support.node import NodeProcess, running_node

KEY = "vf_app.0123456789"
SECRET = "a-secret-of-more-than-thirty-two-bytes"
SITE = "https://calls.example"
BEARER = {"Authorization": f"Bearer {KEY}"}
LONG = {"input": "word " * 800, "response_format": "pcm"}
UPLOAD = "/v1/audio/transcriptions"


@pytest.fixture(scope="module")
def guarded(quick: dict[str, str]) -> Iterator[NodeProcess]:
    """A node that wants credentials, knows one site and takes two calls."""
    with running_node(
        **quick,
        VOICE_API_KEYS=KEY,
        VOICE_TOKEN_SECRET=SECRET,
        VOICE_SESSIONS_PER_TOKEN="1",
        VOICE_ALLOWED_ORIGINS=SITE,
        VOICE_MAX_SESSIONS="2",
        VOICE_MAX_UPLOAD_BYTES="65536",
    ) as running:
        yield running


@asynccontextmanager
async def asked(
    node: NodeProcess, method: str, path: str, headers: Mapping[str, str] = BEARER, **options: Any
) -> AsyncIterator[aiohttp.ClientResponse]:
    """A request and its answer, over a connection of its own."""
    url = node.websocket.replace("ws", "http", 1).removesuffix("/v1/realtime") + path
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, headers=headers, **options) as response,
    ):
        yield response


async def told(node: NodeProcess, method: str, path: str, **options: Any) -> tuple[int, str]:
    """The status of a request that is refused, and the code of its error."""
    async with asked(node, method, path, **options) as response:
        return response.status, (await response.json())["error"]["code"]


async def secret_for(node: NodeProcess, credential: str, **session: Any) -> str:
    body = {"session": {"type": "realtime", **session}}
    headers = {"Authorization": f"Bearer {credential}"}
    async with asked(node, "POST", "/v1/realtime/client_secrets", headers, json=body) as response:
        return str((await response.json())["value"])


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


# --- who


async def test_a_request_needs_a_credential_of_any_kind(guarded: NodeProcess) -> None:
    token = mint_token(SECRET, "web", 60, time.time())
    for headers in (BEARER, {"api-key": KEY}, bearer(token), bearer(await secret_for(guarded, KEY))):
        async with asked(guarded, "GET", "/openai/v1/models", headers) as response:
            assert response.status == 200
    async with asked(guarded, "GET", "/v1/models", bearer("wrong")) as response:
        assert (response.status, response.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert await told(guarded, "POST", "/v1/audio/speech", headers={}, json=LONG) == (401, "invalid_api_key")
    assert await told(guarded, "POST", UPLOAD, headers={}, data=b"x" * 60_000) == (401, "invalid_api_key")


async def test_only_pages_of_the_known_site_may_ask_and_read(guarded: NodeProcess) -> None:
    page = {"Origin": SITE, "Access-Control-Request-Headers": "authorization, content-type"}
    async with asked(guarded, "OPTIONS", "/v1/realtime/client_secrets", page) as response:
        assert response.status == 204
        assert response.headers["Access-Control-Allow-Origin"] == SITE
        assert response.headers["Access-Control-Allow-Headers"] == "authorization, content-type"
    async with asked(guarded, "GET", "/v1/models", BEARER | {"Origin": SITE}) as response:
        assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (200, SITE)
    for method in ("OPTIONS", "GET"):
        async with asked(guarded, method, "/v1/models", BEARER | {"Origin": "https://evil.example"}) as response:
            assert response.status == 403
            assert "Access-Control-Allow-Origin" not in response.headers


async def test_a_client_secret_places_calls_and_makes_no_other(guarded: NodeProcess) -> None:
    secret = await secret_for(guarded, KEY, instructions="Be brief.")
    offered = ["realtime", f"openai-insecure-api-key.{secret}"]
    async with live_call(guarded.websocket, subprotocols=offered, additional_headers={"Origin": SITE}) as call:
        assert call.connection.subprotocol == "realtime"
        assert call.events[0]["session"]["instructions"] == "Be brief."
        assert await call.ask("ping") == "You said: ping"
    assert (await refusal(guarded.websocket, headers=bearer(secret[:-2]))).status_code == 401
    refused = await told(guarded, "POST", "/v1/realtime/client_secrets", headers=bearer(secret), json={})
    assert refused == (403, "client_secret")


async def test_calls_by_a_client_secret_count_as_those_of_whoever_had_it_made(guarded: NodeProcess) -> None:
    token = mint_token(SECRET, "one-at-a-time", 60, time.time())
    secret = await secret_for(guarded, token)
    async with live_call(guarded.websocket, additional_headers=bearer(secret)):
        assert (await refusal(guarded.websocket, headers=bearer(token))).status_code == 429
        assert await told(guarded, "POST", "/v1/audio/speech", headers=bearer(token), json=LONG) == (429, "caller_full")


# --- how many


async def test_a_full_node_refuses_what_it_has_no_place_for(guarded: NodeProcess) -> None:
    async with live_call(guarded.websocket, additional_headers=BEARER):
        async with live_call(guarded.websocket, additional_headers=BEARER):
            async with asked(guarded, "POST", "/v1/audio/speech", json=LONG) as response:
                assert response.status == 503
                assert int(response.headers["Retry-After"]) >= 1
                assert (await response.json())["error"]["type"] == "server_error"
            assert await told(guarded, "POST", UPLOAD, data={"file": BytesIO(b"x")}) == (503, "full")
            async with asked(guarded, "GET", "/v1/models") as response:  # which costs nothing
                assert response.status == 200
        await guarded.until(lambda: guarded.metric("voice_sessions_active") == 1)
        async with asked(guarded, "POST", "/v1/audio/speech", json=LONG) as response:
            assert response.status == 200
            assert guarded.metric("voice_sessions_utilization_ratio") == 1.0
            assert guarded.get("/ready")[0] == 503
            assert (await refusal(guarded.websocket, headers=BEARER)).status_code == 503
    await guarded.until(lambda: guarded.metric("voice_sessions_active") == 0)


async def test_a_client_that_leaves_in_the_middle_frees_its_place(guarded: NodeProcess) -> None:
    async with asked(guarded, "POST", "/v1/audio/speech", json=LONG) as response:
        assert await response.content.readexactly(48_000)
        assert guarded.metric("voice_sessions_active") == 1
        response.close()
    await guarded.until(lambda: guarded.metric("voice_sessions_active") == 0)
    head = f"POST {UPLOAD} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 60000\r\n"
    part = '--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    _, writer = await _connected(guarded)
    writer.write(f"{head}Content-Type: multipart/form-data; boundary=b\r\n\r\n{part}".encode() + bytes(30_000))
    await guarded.until(lambda: guarded.metric("voice_http_upload_bytes") > 20_000)
    assert guarded.metric("voice_sessions_active") == 0.5
    writer.close()
    await guarded.until(lambda: guarded.metric("voice_http_upload_bytes") == 0)
    assert guarded.metric("voice_sessions_active") == 0


async def test_bodies_have_a_size(guarded: NodeProcess) -> None:
    assert await told(guarded, "POST", UPLOAD, data={"file": BytesIO(b"x" * 70_000)}) == (413, "request_too_large")
    tags = {f"field{number}": "x" for number in range(100)}
    assert await told(guarded, "POST", UPLOAD, data=tags) == (400, "invalid_form")
    for body in (b"--b\r\n", b"", b"--b--"):
        headers = BEARER | {"Content-Type": "multipart/form-data; boundary=b"}
        assert (await told(guarded, "POST", UPLOAD, headers=headers, data=body))[0] == 400
    large = json.dumps({"input": "x" * 1_100_000})
    status, _ = await told(guarded, "POST", "/v1/audio/speech", data=large)
    assert status == 413
    assert await told(guarded, "POST", "/v1/audio/speech", data=b"{" * 5000) == (400, "invalid_json")
    assert guarded.metric("voice_http_upload_bytes") == 0


async def test_a_draining_node_finishes_what_it_answers_and_takes_no_more(quick: dict[str, str]) -> None:
    with running_node(**quick) as node:
        async with asked(node, "POST", "/v1/audio/speech", {}, json=LONG) as response:
            assert await response.content.readexactly(48_000)
            node.process.send_signal(signal.SIGTERM)
            await node.until(lambda: node.events("node_draining"))
            assert await told(node, "POST", "/v1/audio/speech", headers={}, json=LONG) == (503, "draining")
            rest = await response.read()
            assert len(rest) > 40 * 48_000
        assert await asyncio.to_thread(node.process.wait, 10) == 0


# --- the port


async def _connected(node: NodeProcess) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    address = urlsplit(node.websocket)
    return await asyncio.open_connection(address.hostname, address.port)


def get(path: str, *lines: str) -> bytes:
    head = [f"GET {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {KEY}", *lines, "", ""]
    return "\r\n".join(head).encode()


async def test_a_request_may_come_byte_by_byte(guarded: NodeProcess) -> None:
    reader, writer = await _connected(guarded)
    for byte in get("/v1/models", "Connection: close"):
        writer.write(bytes([byte]))
        await writer.drain()
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_a_connection_that_had_a_request_may_have_another_and_no_call(guarded: NodeProcess) -> None:
    answer = await exchange(
        guarded.websocket, get("/v1/models") + get("/v1/realtime", "Connection: Upgrade", "Upgrade: websocket")
    )
    assert answer.count(b"HTTP/1.1 200 ") == 1
    assert answer.count(b"HTTP/1.1 426 ") == 1


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST /v1/audio/speech HTTP/1.1\r\nbad header\r\n\r\n", b"400"),
        (b"POST /v1/audio/speech HTTP/1.1\r\nContent-Length: none\r\n\r\n", b"400"),
        (b"POST /v1/audio/speech HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", b"400"),
        (b"POST /v1/audio/speech HTTP/9.9\r\n\r\n", b"400"),
        (b"POST " + b"x" * 20_000, b"414"),
        (b"\0" * 20_000, b"414"),
        (get("/v1/realtime", "Connection: close").replace(b"GET", b"PUT"), b"405"),
        (get("/", "Connection: close").replace(b"GET", b"DELETE"), b"404"),
    ],
    ids=["header", "length", "long header", "version", "long line", "no line", "method", "path"],
)
async def test_what_is_no_request_is_refused_and_is_no_error_of_the_nodes(
    guarded: NodeProcess, sent: bytes, status: bytes
) -> None:
    before = len(guarded.lines)
    assert (await exchange(guarded.websocket, sent))[9:12] == status
    assert await serves(guarded.websocket, additional_headers=BEARER)
    assert {line["level"] for line in guarded.lines[before:]} <= {"info", "warning"}
