"""Who gets into a running node and how: credentials, paths, capacity, TLS; and callers who do not read."""

import json
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import jwt
import pytest
import trustme
from websockets import Subprotocol

from server.access.auth import mint_token
from server.settings.access import hash_api_key
from tests.support.live_call import exchange, handshake, live_call, refusal, serves
from tests.support.node import NodeProcess, running_node
from tests.support.speech_workers import BREAKS_THE_RULES

PLAIN_KEY = "vf_plain.wq0Zk3hVb1"
HASHED_KEY = "vf_hashed.Yx7dPq92Lm"
SECRET = "a-secret-of-more-than-thirty-two-bytes"
SITE = "https://calls.example"
CAPACITY = 2


@pytest.fixture(scope="module")
def guarded(quick: dict[str, str]) -> Iterator[NodeProcess]:
    """A node that wants credentials, knows one site and takes two calls."""
    with running_node(
        **quick,
        VOICE_API_KEYS=f"{PLAIN_KEY},{hash_api_key(HASHED_KEY)}",
        VOICE_TOKEN_SECRET=SECRET,
        VOICE_ALLOWED_ORIGINS=SITE,
        VOICE_MAX_SESSIONS=str(CAPACITY),
        VOICE_SEND_AHEAD_SECONDS="30",
    ) as running:
        yield running


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


def token(**claims: object) -> str:
    """A token for an hour: some are made when tests are collected, and shown minutes later."""
    now = int(time.time())
    return jwt.encode({"sub": "web", "aud": "voicefleet", "iat": now, "exp": now + 3600} | claims, SECRET)


KEY = bearer(PLAIN_KEY)


# --- credentials


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(bearer(PLAIN_KEY), id="key that the settings hold in plain"),
        pytest.param(bearer(HASHED_KEY), id="key that the settings hold hashed"),
        pytest.param({"Authorization": f"bearer  {PLAIN_KEY}"}, id="scheme in small letters"),
        pytest.param({"api-key": HASHED_KEY}, id="Azure's header"),
        pytest.param(bearer(mint_token(SECRET, "web", 3600, time.time())), id="token of ours"),
        pytest.param(bearer(token()), id="token of the customer's own code"),
        pytest.param(bearer(PLAIN_KEY) | {"Origin": SITE}, id="page of the known site"),
    ],
)
async def test_a_right_credential_is_let_in(guarded: NodeProcess, headers: dict[str, str]) -> None:
    assert await serves(guarded.websocket, additional_headers=headers)


async def test_a_browser_shows_its_key_as_a_subprotocol_that_is_not_echoed(guarded: NodeProcess) -> None:
    offered = [Subprotocol("realtime"), Subprotocol(f"openai-insecure-api-key.{PLAIN_KEY}")]
    async with live_call(guarded.websocket, subprotocols=offered) as call:
        assert call.connection.subprotocol == "realtime"
        assert await call.ask("ping") == "You said: ping"


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="none"),
        pytest.param(bearer("vf_plain.wrong"), id="wrong key"),
        pytest.param(bearer(hash_api_key(PLAIN_KEY)), id="a key's hash"),
        pytest.param(bearer("clé"), id="no ASCII"),
        pytest.param({"Authorization": f"Basic {PLAIN_KEY}"}, id="other scheme"),
        pytest.param(bearer(token(exp=int(time.time()) - 120)), id="expired token"),
        pytest.param(bearer(token(aud="elsewhere")), id="token for someone else"),
        pytest.param(bearer(token(exp=int(time.time()) + 10**6)), id="token that lives for weeks"),
        pytest.param(bearer(jwt.encode({"sub": "web", "aud": "voicefleet"}, SECRET)), id="token without an end"),
        pytest.param(bearer(mint_token(SECRET[::-1], "web", 3600, time.time())), id="token signed by someone else"),
        pytest.param(bearer(jwt.encode({"sub": "web"}, "", algorithm="none")), id="token without a signature"),
        pytest.param(bearer(token()[:-2]), id="token cut short"),
    ],
)
async def test_a_wrong_credential_is_refused_with_401(guarded: NodeProcess, headers: dict[str, str]) -> None:
    response = await refusal(guarded.websocket, headers=headers)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert SECRET.encode() not in response.body


async def test_two_credentials_are_refused(guarded: NodeProcess) -> None:
    asked = handshake(guarded.websocket, Authorization=f"Bearer {PLAIN_KEY}")
    asked = asked.replace(b"Authorization:", b"Authorization: Bearer other\r\nAuthorization:")
    assert (await exchange(guarded.websocket, asked)).startswith(b"HTTP/1.1 401 ")


async def test_a_key_in_the_address_is_not_looked_for(guarded: NodeProcess) -> None:
    assert (await refusal(f"{guarded.websocket}?api_key={PLAIN_KEY}")).status_code == 401


@pytest.mark.parametrize("origin", ["https://elsewhere.example", "http://localhost", "null"])
async def test_a_page_of_another_site_is_refused_in_spite_of_its_key(guarded: NodeProcess, origin: str) -> None:
    assert (await refusal(guarded.websocket, headers=KEY | {"Origin": origin})).status_code == 403


async def test_another_subprotocol_is_refused(guarded: NodeProcess) -> None:
    offered = [f"openai-insecure-api-key.{PLAIN_KEY}"]  # which alone is none that could be agreed on
    assert (await refusal(guarded.websocket, subprotocols=offered)).status_code == 400


async def test_azures_path_is_the_same_door(guarded: NodeProcess) -> None:
    url = guarded.websocket.replace("/v1/realtime", "/openai/v1/realtime?model=gpt-realtime")
    async with live_call(url, additional_headers={"api-key": PLAIN_KEY}) as call:
        assert call.events[0]["session"]["model"] == "gpt-realtime"
        assert await call.ask("ping") == "You said: ping"


async def test_compression_is_declined(guarded: NodeProcess) -> None:
    async with live_call(guarded.websocket, additional_headers=KEY, compression="deflate") as call:
        assert call.connection.protocol.extensions == []
        assert await call.ask("ping") == "You said: ping"


async def test_health_and_metrics_need_no_key(guarded: NodeProcess) -> None:
    assert [guarded.get(path)[0] for path in ("/health", "/ready", "/metrics")] == [200, 200, 200]


# --- capacity


async def test_a_full_node_refuses_and_takes_calls_again(guarded: NodeProcess) -> None:
    refused_before = guarded.metric("voice_handshakes_refused_total", reason="full")
    async with live_call(guarded.websocket, additional_headers=KEY) as first:
        async with live_call(guarded.websocket, additional_headers=KEY):
            response = await refusal(guarded.websocket, headers=KEY)
            assert response.status_code == 503
            assert int(response.headers["Retry-After"]) >= 1
            assert guarded.get("/ready")[0] == 503
            assert guarded.get("/health")[0] == 200
            assert guarded.metric("voice_sessions_utilization_ratio") == 1.0
        await guarded.until(lambda: guarded.get("/ready")[0] == 200)
        assert await serves(guarded.websocket, additional_headers=KEY)
        assert await first.ask("ping") == "You said: ping"
    assert guarded.metric("voice_handshakes_refused_total", reason="full") == refused_before + 1


async def test_a_refused_credential_takes_no_place(guarded: NodeProcess) -> None:
    taken = guarded.metric("voice_sessions_total")
    await refusal(guarded.websocket, headers=bearer("wrong"))
    assert guarded.metric("voice_sessions_total") == taken


async def test_callers_who_vanish_leave_no_place_taken(guarded: NodeProcess) -> None:
    for _ in range(2 * CAPACITY):
        async with live_call(guarded.websocket, additional_headers=KEY) as call:
            await call.type("one two three four five six seven")
            await call.until("response.output_audio.delta")
            call.reset()
        await guarded.until(lambda: guarded.metric("voice_sessions_active") == 0)
    assert await serves(guarded.websocket, additional_headers=KEY)


async def test_callers_who_vanish_in_the_handshake_leave_no_place_taken(guarded: NodeProcess) -> None:
    address = urlsplit(guarded.websocket)
    for _ in range(10 * CAPACITY):
        with socket.create_connection((address.hostname, address.port)) as connection:
            connection.sendall(handshake(guarded.websocket, **KEY))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close is a reset
    assert await serves(guarded.websocket, additional_headers=KEY)
    assert guarded.metric("voice_sessions_active") <= 1


# --- a caller who does not read


async def test_a_caller_who_does_not_read_is_cut_off_and_nobody_else_notices(guarded: NodeProcess) -> None:
    failed = guarded.events("session_failed")
    async with (
        live_call(guarded.websocket, additional_headers=KEY) as other,
        live_call(guarded.websocket, additional_headers=KEY, sock=_narrow(guarded)) as slow,
    ):
        await slow.update(audio={"output": {"format": {"type": "audio/pcm", "rate": 48000}}})
        memory = guarded.metric("process_resident_memory_bytes")
        slow.connection.transport.pause_reading()
        await slow.type("word " * 400)  # two minutes of audio, of which half a minute leaves at once
        assert await other.ask("ping") == "You said: ping"
        await guarded.until(lambda: guarded.events("session_cut"))
        assert guarded.metric("process_resident_memory_bytes") - memory < 64 * 2**20
        assert (await other.turn("one two three"))["status"] == "completed"
        slow.connection.transport.resume_reading()
        assert await slow.closed() == 1008
        assert guarded.metric("voice_calls_ended_total", reason="slow_client") == 1
    assert guarded.events("session_failed") == failed


async def test_a_caller_who_reads_may_get_half_a_minute_of_audio_at_once(guarded: NodeProcess) -> None:
    async with live_call(guarded.websocket, additional_headers=KEY) as call:
        assert (await call.turn("word " * 90))["status"] == "completed"


def _narrow(node: NodeProcess) -> socket.socket:
    """A connection on which the kernels keep little, so that what is not read waits in the node."""
    address = urlsplit(node.websocket)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    connection.connect((address.hostname, address.port))
    connection.setblocking(False)
    return connection


# --- a worker that breaks the rules


async def test_a_voice_that_breaks_the_rules_fails_its_answer_and_no_call(guarded: NodeProcess) -> None:
    async with (
        live_call(guarded.websocket, additional_headers=KEY) as other,
        live_call(guarded.websocket, additional_headers=KEY) as broken,
    ):
        await other.type("one two three four")
        failed = await broken.turn(BREAKS_THE_RULES)
        assert failed["status"] == "failed"
        assert failed["status_details"]["error"]["code"] == "unavailable"
        assert "Error" not in json.dumps(failed)
        assert (await other.until("response.done"))["response"]["status"] == "completed"
        assert (await other.turn("one two"))["status"] == "completed"


# --- TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def secure(
    quick: dict[str, str], authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NodeProcess]:
    """A node that speaks TLS."""
    folder: Path = tmp_path_factory.mktemp("tls")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(folder / "cert.pem", append=True)
    with running_node(
        **quick, VOICE_TLS_CERT=str(folder / "cert.pem"), VOICE_TLS_KEY=str(folder / "key.pem")
    ) as running:
        yield running


async def test_calls_over_tls(secure: NodeProcess, authority: trustme.CA) -> None:
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    assert secure.websocket.startswith("wss://")
    assert await serves(secure.websocket, ssl=trusting)
    with pytest.raises(ssl.SSLCertVerificationError):
        await serves(secure.websocket)


async def test_http_requests_over_tls(secure: NodeProcess, authority: trustme.CA) -> None:
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    models = secure.base_url.replace("wss", "https") + "/models"
    async with aiohttp.ClientSession() as session, session.get(models, ssl=trusting) as response:
        assert response.status == 200


@pytest.mark.parametrize("sent", [b"GET /v1/realtime HTTP/1.1\r\n\r\n", bytes.fromhex("1603010005") + bytes(5)])
async def test_what_is_no_tls_is_turned_away(secure: NodeProcess, authority: trustme.CA, sent: bytes) -> None:
    assert not (await exchange(secure.websocket, sent)).startswith(b"HTTP")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    assert await serves(secure.websocket, ssl=trusting)
