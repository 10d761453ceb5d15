"""Speech on machines of its own: real workers on TCP behind TLS and a token, and a gateway that balances over them."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, aclosing
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from typer.testing import CliRunner

from server.main import cli
from server.settings.loading import SettingsError
from server.tts_processor import TtsError, TtsProcessor
from server.workers import clause_audio, speech_pb2, speech_pb2_grpc, tts_pool
from tests.support.live_call import live_call, refusal
from tests.support.node import running_node
from tests.support.openai_llm_standin import OpenAiStandin
from tests.support.speech_service import TOKEN, Keys, Service, stand_in, tts_service

# Some 30 s of audio: far more than the sockets and gRPC hold, so that most of it is still in the worker when it dies.
_LONG = "The quick brown fox jumps over the lazy dog. " * 12


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def service(keys: Keys) -> Iterator[Service]:
    """A worker that no test breaks."""
    with tts_service(keys) as running:
        yield running


async def _say(tts: TtsProcessor, text: str = "Hello.") -> bytes:
    return b"".join([pcm async for pcm in tts.synthesize(text)])


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110  # what is waited for happens in another process
            await asyncio.sleep(0.02)


def _channel(service: Service, keys: Keys) -> grpc.aio.Channel:
    return grpc.aio.secure_channel(service.address, grpc.ssl_channel_credentials(keys.ca.read_bytes()))


# --- what it asks of who calls


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("authorization", "Bearer "),),
        (("authorization", f"Bearer {TOKEN}x"),),
        (("authorization", TOKEN),),
        (("authorization", f"bearer {TOKEN}"),),
        (("authorization", f"Bearer {TOKEN}"), ("authorization", "Bearer two")),
    ],
    ids=["none", "empty", "wrong", "no scheme", "small letters", "two"],
)
async def test_who_does_not_show_the_token_is_turned_away(
    service: Service, keys: Keys, metadata: tuple[tuple[str, str], ...]
) -> None:
    async with _channel(service, keys) as channel:
        stub = speech_pb2_grpc.TextToSpeechStub(channel)  # type: ignore[no-untyped-call] # generated
        for refused in (
            stub.ListVoices(speech_pb2.ListVoicesRequest(), metadata=metadata),
            stub.Synthesize(speech_pb2.SynthesizeRequest(text="Hello."), metadata=metadata).read(),
            channel.unary_unary("/voicefleet.speech.v1.TextToSpeech/NoSuchMethod")(b"", metadata=metadata),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await refused
            assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
            assert TOKEN not in str(raised.value.details())


async def test_a_probe_without_a_token_learns_its_health_and_no_more(service: Service, keys: Keys) -> None:
    async with _channel(service, keys) as channel:
        reply = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
    assert reply.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_gateway_with_the_token_and_the_authority_is_served(service: Service, keys: Keys) -> None:
    async with keys.processor(service.address) as tts:
        assert tts.sample_rate == 24_000
        assert tts.voices == {"heart"}
        assert await _say(tts)


@pytest.mark.parametrize("fault", ["token", "authority", "host name", "no TLS"])
async def test_a_gateway_that_is_not_served_says_why(
    service: Service, keys: Keys, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tts_pool, "_START_SECONDS", 1.0)
    port = service.address.rpartition(":")[2]
    tts, says = {
        "token": (keys.processor(service.address, token="x" * 32), "VOICE_WORKER_TOKEN"),
        "authority": (keys.processor(service.address, ca=Keys(tmp_path).ca), "CERTIFICATE_VERIFY_FAILED"),
        "host name": (keys.processor(f"localhost:{port}"), "failed to connect to all addresses"),
        "no TLS": (TtsProcessor(service.address), service.address),
    }[fault]
    with pytest.raises(TtsError, match=says) as raised:
        async with tts:
            pass
    assert raised.value.failure == "unavailable"


async def test_what_is_no_certificate_is_refused_by_name(keys: Keys, tmp_path: Path) -> None:
    for content in (b"", b"nonsense"):
        (tmp_path / "ca.pem").write_bytes(content)
        with pytest.raises(SettingsError, match=r"VOICE_TTS_CA_FILE: got '.*ca\.pem'.*takes certificates"):
            keys.processor("127.0.0.1:1", ca=tmp_path / "ca.pem")


@pytest.mark.parametrize(
    ("listen", "variables", "says"),
    [
        ("0.0.0.0:0", {}, "which others can reach; takes a loopback address"),
        ("[::]:0", {"VOICE_WORKER_TOKEN": TOKEN}, "which others can reach"),
        ("10.0.0.7:0", {"VOICE_TLS_CERT": "cert.pem", "VOICE_TLS_KEY": "key.pem"}, "which others can reach"),
        ("speech.internal:0", {}, "which others can reach"),
        ("50051", {}, "takes HOST:PORT"),
        (":50051", {}, "takes HOST:PORT"),
        ("127.0.0.1:99999", {}, "takes HOST:PORT"),
        ("127.0.0.1:0", {"VOICE_WORKER_TOKEN": "short-token"}, "VOICE_WORKER_TOKEN: got a value that is not shown"),
        ("127.0.0.1:0", {"VOICE_TLS_CERT": "cert.pem", "VOICE_TLS_KEY": "key.pem"}, "can't be used"),
    ],
)
@pytest.mark.parametrize("worker", ["tts", "stt"])
def test_an_address_that_nothing_guards_is_refused(
    worker: str, listen: str, variables: dict[str, str], says: str
) -> None:
    plain = {name: None for name in os.environ if name.startswith("VOICE_")}
    result = CliRunner(env={**plain, **variables}).invoke(cli, ["worker", worker, "--listen", listen])
    assert result.exit_code == 2
    assert says in result.stderr
    assert "short-token" not in result.stderr


def test_an_address_that_is_taken_is_said_in_a_line(service: Service) -> None:
    command = [sys.executable, "-m", "server.main", "worker", "tts", "--listen", service.address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: --listen: got '{service.address}', which can't be listened on (Address already in use); takes a free "
        "port, 0 for any\n"
    )


# --- several of them


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM], ids=["killed", "hung", "stopped"])
async def test_a_sentence_is_whole_though_its_worker_was_lost_in_the_middle(
    service: Service, keys: Keys, signum: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clause_audio, "LONGEST_GAP_SECONDS", 1.5)
    async with keys.processor(service.address) as alone:
        undisturbed = await _say(alone, _LONG)
    with tts_service(keys) as lost:
        async with keys.processor(lost.address, service.address) as tts:
            await _until(lambda: all(tts.pool.workers.values()))
            pcm = b""
            async with aclosing(tts.synthesize(_LONG)) as chunks:
                async for chunk in chunks:
                    if not pcm:
                        assert tts.pool.balancer.outstanding(lost.address) == 1
                        os.kill(lost.process.pid, signum)
                    pcm += chunk
            assert pcm == undisturbed
            await _until(lambda: not tts.pool.workers[lost.address])
            assert await _say(tts, _LONG) == undisturbed


async def test_many_clauses_at_once_lose_nothing_when_a_worker_dies(service: Service, keys: Keys) -> None:
    text = "Our opening hours are from nine to five. " * 3
    with tts_service(keys) as lost:
        async with keys.processor(lost.address, service.address) as tts:
            await _until(lambda: all(tts.pool.workers.values()))
            undisturbed = await _say(tts, text)
            asking = [asyncio.create_task(_say(tts, text)) for _ in range(12)]
            await _until(lambda: tts.pool.balancer.outstanding(lost.address) == 6)
            os.kill(lost.process.pid, signal.SIGKILL)
            assert set(await asyncio.gather(*asking)) == {undisturbed}


async def test_one_worker_is_enough_to_start_with_and_the_other_joins(service: Service, keys: Keys) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    late = f"127.0.0.1:{port}"
    async with keys.processor(late, service.address) as tts:
        assert await _say(tts)
        assert tts.pool.workers == {late: False, service.address: True}
        with ExitStack() as stack:
            await asyncio.to_thread(stack.enter_context, tts_service(keys, port))
            await _until(lambda: tts.pool.workers[late])
            async with aclosing(tts.synthesize("Hello.")) as chunks:
                assert await anext(chunks)
                assert tts.pool.balancer.outstanding(late) == 1


# --- a node


async def test_the_nodes_capacity_follows_its_voices(llm: OpenAiStandin) -> None:
    with tempfile.TemporaryDirectory(prefix="voice") as name, ExitStack() as stack:
        folder = Path(name)
        ears = folder / "stt"
        stack.enter_context(stand_in(ears, streams=0))
        one, two = folder / "one", folder / "two"
        first = stack.enter_context(stand_in(one, streams=1))
        second = stack.enter_context(stand_in(two, streams=2))
        node = stack.enter_context(
            running_node(
                VOICE_STT_ADDRESS=f"unix:{ears}",
                VOICE_TTS_ADDRESS=f"unix:{one},unix:{two}",
                VOICE_LLM=f"openai:standin@{llm.url}",
                VOICE_MAX_SESSIONS="9",
            )
        )

        async def until_capacity(sessions: int) -> None:
            await node.until(lambda: node.metric("voice_sessions_capacity") == sessions)

        def tts_part() -> dict[str, object]:
            return dict(json.loads(node.get("/health")[1])["parts"]["tts"])

        await until_capacity(3)
        assert tts_part() == {"serving": True, "detail": f"unix:{one}, unix:{two}", "required": True}
        async with live_call(node.websocket) as call, live_call(node.websocket) as bystander:
            os.kill(second.pid, signal.SIGKILL)
            await until_capacity(1)
            assert tts_part()["detail"] == f"1 of 2 not serving: unix:{two}"
            assert node.get("/ready")[0] == 503, "it is full, with more calls than it would take now"
            assert (await refusal(node.websocket)).status_code == 503
            for going_on in (call, bystander):
                assert (await going_on.turn("one two"))["status"] == "completed"
        await node.until(lambda: node.get("/ready")[0] == 200)
        os.kill(first.pid, signal.SIGKILL)
        await until_capacity(0)
        assert not tts_part()["serving"]
        assert (await refusal(node.websocket)).headers["Retry-After"]
        stack.enter_context(stand_in(one, streams=20))
        await until_capacity(9)
        async with live_call(node.websocket) as call:
            assert (await call.turn("one two"))["status"] == "completed"
        assert node.metric("voice_tts_worker_up", worker=f"unix:{one}") == 1
        assert node.metric("voice_tts_worker_streams", worker=f"unix:{one}") == 20
        assert {event["address"] for event in node.events("tts_worker_left_out")} == {f"unix:{two}", f"unix:{one}"}


async def test_a_node_speaks_through_workers_behind_tls_and_a_token(
    service: Service, keys: Keys, llm: OpenAiStandin, quick: dict[str, str]
) -> None:
    speech = {
        "VOICE_TTS_ADDRESS": f"127.0.0.1:9,{service.address}",
        "VOICE_TTS_CA_FILE": str(keys.ca),
        "VOICE_WORKER_TOKEN": TOKEN,
    }
    with running_node(**quick | speech) as node:
        async with live_call(node.websocket) as call:
            assert (await call.turn("good morning"))["status"] == "completed"
        await node.until(lambda: node.get("/ready")[0] == 200)
        assert json.loads(node.get("/health")[1])["parts"]["tts"]["detail"] == "1 of 2 not serving: 127.0.0.1:9"
        assert TOKEN not in "".join(node.log)
