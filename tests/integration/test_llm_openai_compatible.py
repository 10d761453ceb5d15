"""The OpenAI-compatible provider against a server over real sockets: streaming, tools, cancellation, errors."""

import asyncio
import gzip
import itertools
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme

from server.llm.interface import (
    AssistantText,
    ChatMessage,
    ChatRequest,
    Finished,
    LlmError,
    LlmEvent,
    TextDelta,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolCallStarted,
    ToolResult,
    Usage,
    UserText,
)
from server.llm.openai_compatible import OpenAiCompatibleProvider
from tests.support.openai_llm_standin import (
    Answer,
    CutOff,
    OpenAiStandin,
    Raw,
    Redirect,
    Refusal,
    Stall,
    ToolCallAnswer,
    Verbatim,
    by_rules,
)
from tests.support.proxy import Proxy

SECRET = "my password is tulip"
HELLO = ChatRequest("Be brief.", [UserText(SECRET)])
WEATHER = Tool("get_weather", "Weather of a city", {"type": "object", "properties": {"city": {"type": "string"}}})
TIME = Tool("get_time", "", {"type": "object", "properties": {}})


@pytest.fixture
async def standin() -> AsyncIterator[OpenAiStandin]:
    async with OpenAiStandin() as server:
        yield server


@pytest.fixture
async def provider(standin: OpenAiStandin) -> AsyncIterator[OpenAiCompatibleProvider]:
    opened = OpenAiCompatibleProvider("small", standin.url, "key-1")
    yield opened
    await opened.close()


async def everything(provider: OpenAiCompatibleProvider, request: ChatRequest = HELLO) -> list[LlmEvent]:
    return [event async for event in provider.stream(request)]


def said(events: list[LlmEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def chunk(delta: dict[str, Any], finish_reason: str | None = None, **more: Any) -> str:
    return json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}], **more})


async def test_text_streams_in_order_and_ends_with_the_usage(
    standin: OpenAiStandin, provider: OpenAiCompatibleProvider
) -> None:
    standin.answer = lambda _: "Hello there."
    assert await everything(provider) == [
        TextDelta("Hello"),
        TextDelta(" there."),
        Finished("stop", Usage(input_tokens=6, output_tokens=2)),
    ]
    assert standin.requests[0]["model"] == "small"
    assert standin.headers[0]["Authorization"] == "Bearer key-1"


async def test_the_first_token_is_there_before_the_answer_is_complete(
    standin: OpenAiStandin, provider: OpenAiCompatibleProvider
) -> None:
    standin.answer = lambda _: Stall("Hello")
    stream = provider.stream(HELLO)
    assert await anext(stream) == TextDelta("Hello")
    await stream.aclose()


async def test_answers_one_after_the_other_share_a_connection(
    standin: OpenAiStandin, provider: OpenAiCompatibleProvider
) -> None:
    await provider.warm_up()
    await everything(provider)
    await everything(provider)
    assert len(standin.connections) == 1


async def test_a_function_call_makes_the_round_trip(standin: OpenAiStandin, provider: OpenAiCompatibleProvider) -> None:
    standin.answer = by_rules({"weather": ToolCallAnswer("get_weather", {"city": "Paris"}, text="Let me look.")})
    question = UserText("What is the weather?")
    events = await everything(provider, ChatRequest("", [question], tools=[WEATHER]))
    started = next(event for event in events if isinstance(event, ToolCallStarted))
    arguments = "".join(event.arguments for event in events if isinstance(event, ToolCallDelta))
    assert (started.name, json.loads(arguments)) == ("get_weather", {"city": "Paris"})
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "tool_calls"
    history: list[ChatMessage] = [
        question,
        AssistantText("Let me look."),
        ToolCall(started.call_id, started.name, arguments),
        ToolResult(started.call_id, "18 degrees"),
    ]
    assert said(await everything(provider, ChatRequest("", history, tools=[WEATHER]))) == "The answer is: 18 degrees"


async def test_parallel_function_calls_come_one_after_the_other(
    standin: OpenAiStandin, provider: OpenAiCompatibleProvider
) -> None:
    standin.answer = lambda _: [ToolCallAnswer("get_weather", {"city": "Oslo"}), ToolCallAnswer("get_time")]
    events = await everything(provider, ChatRequest("", [UserText("Go.")], tools=[WEATHER, TIME]))
    names = [event.name for event in events if isinstance(event, ToolCallStarted)]
    assert names == ["get_weather", "get_time"]
    assert events[-2] == ToolCallDelta("call_2", "{}")


async def test_calls_whose_pieces_are_interleaved_are_told_apart(
    standin: OpenAiStandin, provider: OpenAiCompatibleProvider
) -> None:
    def piece(index: int | None, call_id: str | None, name: str | None, arguments: str) -> str:
        function = {"name": name, "arguments": arguments}
        return chunk({"tool_calls": [{"index": index, "id": call_id, "function": function}]})

    standin.answer = lambda _: Raw(
        (
            piece(0, "a", "get_weather", ""),
            piece(1, "b", "get_time", ""),
            piece(0, None, None, '{"city":'),
            piece(1, None, None, '{"zone":1}'),
            piece(0, None, None, '"Oslo"}'),
            chunk({}, "tool_calls"),
            "[DONE]",
        )
    )
    events = await everything(provider)
    order = [event.call_id for event in events if isinstance(event, ToolCallStarted | ToolCallDelta)]
    assert order == ["a", "a", "a", "b", "b"]
    pieces = [event for event in events if isinstance(event, ToolCallDelta)]
    assert "".join(event.arguments for event in pieces if event.call_id == "a") == '{"city":"Oslo"}'
    assert "".join(event.arguments for event in pieces if event.call_id == "b") == '{"zone":1}'


async def test_calls_that_a_server_all_numbers_0_are_told_apart_by_their_ids(
    standin: OpenAiStandin, provider: OpenAiCompatibleProvider
) -> None:
    calls = [
        {"index": 0, "id": call_id, "function": {"name": "get_weather", "arguments": "{}"}} for call_id in ("a", "b")
    ]
    standin.answer = lambda _: Raw((chunk({"tool_calls": calls}), chunk({}, "stop"), "[DONE]"))
    events = await everything(provider)
    assert [event.call_id for event in events if isinstance(event, ToolCallStarted)] == ["a", "b"]
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "tool_calls"


@pytest.mark.parametrize("answer", [Stall("Hello"), Stall()], ids=["mid-answer", "no-text"])
async def test_closing_the_answer_hangs_up_at_once(
    standin: OpenAiStandin, provider: OpenAiCompatibleProvider, answer: Stall
) -> None:
    standin.answer = lambda _: answer
    reading = asyncio.create_task(everything(provider))
    await standin.until(lambda it: len(it.requests) == 1)
    reading.cancel()
    await standin.until(lambda it: it.cancelled == 1, timeout=1.0)


async def test_cancelling_before_the_headers_hangs_up_at_once(
    standin: OpenAiStandin, provider: OpenAiCompatibleProvider
) -> None:
    standin.first_token_seconds = 30.0
    reading = asyncio.create_task(everything(provider))
    await standin.until(lambda it: len(it.requests) == 1)
    reading.cancel()
    await standin.until(lambda it: it.cancelled == 1, timeout=1.0)


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (Refusal(429), "throttled"),
        (Refusal(408), "timeout"),
        (Refusal(504), "timeout"),
        (Refusal(500), "unavailable"),
        (Refusal(503), "unavailable"),
        (Refusal(400), "invalid_request"),
        (Refusal(401), "invalid_request"),
        (CutOff(), "unavailable"),
        (CutOff("Hello"), "interrupted"),
        (Raw((chunk({"content": "Hello"}),)), "interrupted"),
        (Raw((chunk({"content": "Hello"}), json.dumps({"error": {"message": SECRET}}))), "interrupted"),
        (Raw((chunk({"content": "Hello"}), f'{{"choices": "{SECRET}"}}')), "interrupted"),
    ],
    ids=str,
)
async def test_what_goes_wrong_is_told_by_its_kind(
    standin: OpenAiStandin, provider: OpenAiCompatibleProvider, answer: Any, failure: str
) -> None:
    standin.answer = lambda _: answer
    with pytest.raises(LlmError) as caught:
        await everything(provider)
    assert caught.value.failure == failure
    assert SECRET not in str(caught.value)
    assert len(standin.requests) == 1


async def test_a_refusal_is_told_with_its_code(standin: OpenAiStandin, provider: OpenAiCompatibleProvider) -> None:
    standin.answer = lambda _: Refusal(404, "model_not_found")
    with pytest.raises(LlmError, match=r"404.*model_not_found"):
        await everything(provider)


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with OpenAiStandin() as gone:
        pass
    provider = OpenAiCompatibleProvider("small", gone.url)
    for attempt in (everything(provider), provider.warm_up()):
        with pytest.raises(LlmError) as caught:
            await attempt
        assert caught.value.failure == "unavailable"
    await provider.close()


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ((chunk({"content": "Hi"}), chunk({}, "stop"), "[DONE]"), "Hi"),
        ((chunk({"role": "assistant"}), chunk({"content": None}), chunk({"content": "Hi"}, "stop"), "[DONE]"), "Hi"),
        ((chunk({"content": "Hi"}), "[DONE]"), "Hi"),
        ((chunk({"content": "Hi"}), chunk({}, "stop")), "Hi"),
        ((chunk({"reasoning_content": "Hmm"}), chunk({"content": "Hi"}), chunk({}, "stop"), "[DONE]"), "Hi"),
        ((chunk({"content": "Hi", "tool_calls": None}, usage=None), chunk({}, "stop"), '{"choices": null}'), "Hi"),
    ],
    ids=["no-usage", "role-only-and-null", "no-finish-reason", "no-done", "reasoning", "nulls"],
)
async def test_servers_with_ways_of_their_own_are_understood(
    standin: OpenAiStandin, provider: OpenAiCompatibleProvider, lines: tuple[str, ...], text: str
) -> None:
    standin.answer = lambda _: Raw(lines)
    events = await everything(provider)
    assert said(events) == text
    assert events[-1] == Finished("stop", Usage())


@pytest.mark.parametrize(
    ("reason", "told"),
    [("length", "length"), ("content_filter", "content_filter"), ("something_new", "stop")],
)
async def test_the_reason_for_the_end_is_told(
    standin: OpenAiStandin, provider: OpenAiCompatibleProvider, reason: str, told: str
) -> None:
    standin.answer = lambda _: Raw((chunk({"content": "Hi"}), chunk({}, reason), "[DONE]"))
    end = (await everything(provider))[-1]
    assert isinstance(end, Finished)
    assert end.reason == told


async def test_a_refused_key_is_told_at_the_start(standin: OpenAiStandin, provider: OpenAiCompatibleProvider) -> None:
    standin.models_status = 401
    with pytest.raises(LlmError, match="401") as caught:
        await provider.warm_up()
    assert caught.value.failure == "invalid_request"


async def test_the_limits_of_the_request_reach_the_server(
    standin: OpenAiStandin, provider: OpenAiCompatibleProvider
) -> None:
    standin.answer = lambda _: "one two three"
    request = ChatRequest("", [UserText("Count.")], max_output_tokens=2, temperature=0.5)
    events = await everything(provider, request)
    assert said(events) == "one two"
    assert events[-1] == Finished("length", Usage(input_tokens=1, output_tokens=2))
    assert standin.requests[0]["temperature"] == 0.5


@pytest.mark.parametrize(
    ("refused", "request_", "left"),
    [
        ("reasoning_effort", ChatRequest("", [UserText("Hi.")], reasoning_effort="low"), set()),
        ("temperature", ChatRequest("", [UserText("Hi.")], temperature=0.5), set()),
        ("stream_options", ChatRequest("", [UserText("Hi.")]), set()),
        ("max_tokens", ChatRequest("", [UserText("Hi.")], max_output_tokens=9), {"max_completion_tokens"}),
    ],
)
async def test_a_field_that_the_server_refuses_by_name_is_left_out_from_then_on(
    standin: OpenAiStandin, provider: OpenAiCompatibleProvider, refused: str, request_: ChatRequest, left: set[str]
) -> None:
    def answer(request: dict[str, Any]) -> Answer:
        return Refusal(400, "unsupported_parameter", refused) if refused in request else "Hello."

    standin.answer = answer
    for _ in range(2):
        assert said(await everything(provider, request_)) == "Hello."
    assert [refused in request for request in standin.requests] == [True, False, False]
    assert left <= standin.requests[-1].keys()


async def test_a_field_that_the_server_wants_is_not_dropped_for_ever(
    standin: OpenAiStandin, provider: OpenAiCompatibleProvider
) -> None:
    standin.answer = lambda _: Refusal(400, "unsupported_parameter", "messages")
    with pytest.raises(LlmError):
        await everything(provider)
    assert len(standin.requests) == 1


@pytest.mark.parametrize(
    ("refusal", "failure"),
    [(Refusal(400, "context_length_exceeded"), "context_length_exceeded"), (Refusal(413), "context_length_exceeded")],
    ids=str,
)
async def test_a_request_that_is_too_long_is_told_as_such(
    standin: OpenAiStandin, provider: OpenAiCompatibleProvider, refusal: Refusal, failure: str
) -> None:
    standin.answer = lambda _: refusal
    with pytest.raises(LlmError) as caught:
        await everything(provider)
    assert caught.value.failure == failure


async def test_a_server_that_does_not_stream_is_understood(
    standin: OpenAiStandin, provider: OpenAiCompatibleProvider
) -> None:
    body = {"choices": [{"message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}]}
    standin.answer = lambda _: Verbatim((json.dumps(body, indent=2).encode(),))
    assert await everything(provider) == [TextDelta("Hello."), Finished("stop", Usage())]


async def test_every_block_of_an_answer_is_a_sign_of_life(
    standin: OpenAiStandin, provider: OpenAiCompatibleProvider
) -> None:
    beats: list[None] = []
    thoughts = tuple(f"data: {chunk({'reasoning': 'Hm.'})}\n\n".encode() for _ in range(3))
    done = f"data: {chunk({'content': 'Hi'}, 'stop')}\n\n".encode()
    standin.answer, standin.token_seconds = (lambda _: Verbatim((b": wait\n\n", *thoughts, done))), 0.02
    request = ChatRequest("", [UserText("Hi.")], heartbeat=lambda: beats.append(None))
    assert said(await everything(provider, request)) == "Hi"
    assert len(beats) == 5


@pytest.mark.parametrize(
    ("url", "variables", "proxied"),
    [
        ("http://models.example/v1", {"HTTP_PROXY": "PROXY"}, True),
        ("http://models.example/v1", {"http_proxy": "PROXY"}, True),
        ("http://models.example/v1", {"ALL_PROXY": "PROXY"}, True),
        ("http://models.example/v1", {"HTTP_PROXY": "HOST"}, True),  # without a scheme, as curl takes it
        ("http://models.example/v1", {"HTTP_PROXY": "PROXY", "NO_PROXY": "models.example"}, False),
        ("http://models.example/v1", {"HTTPS_PROXY": "PROXY"}, False),
        ("LOCAL", {"HTTP_PROXY": "http://127.0.0.1:9"}, False),  # this machine needs none
    ],
    ids=str,
)
async def test_the_environment_names_the_proxy(
    standin: OpenAiStandin, monkeypatch: pytest.MonkeyPatch, url: str, variables: dict[str, str], proxied: bool
) -> None:
    """open-webui PR#2799."""
    address = urlsplit(standin.url)
    async with Proxy(str(address.hostname), int(address.port or 0)) as proxy:
        for name, value in variables.items():
            replaced = value.replace("PROXY", proxy.url).replace("HOST", proxy.url.removeprefix("http://"))
            monkeypatch.setenv(name, replaced)
        provider = OpenAiCompatibleProvider("small", standin.url if url == "LOCAL" else url)
        try:
            if proxied or url == "LOCAL":
                assert said(await everything(provider)).startswith("You said")
            else:
                with pytest.raises(LlmError):
                    await everything(provider)
        finally:
            await provider.close()
        assert bool(proxy.asked) == proxied


async def test_a_model_behind_tls_is_reached_through_the_proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.delenv("PIP_CERT", raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("models.example").configure_cert(context)
    async with OpenAiStandin(tls=context) as standin:
        address = urlsplit(standin.url)
        async with Proxy(str(address.hostname), int(address.port or 0)) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            provider = OpenAiCompatibleProvider("small", "https://models.example/v1")
            assert said(await everything(provider)).startswith("You said")
            await provider.close()
            assert proxy.asked == ["models.example:443"]


def test_a_proxy_of_a_kind_that_can_not_be_used_is_refused_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:1080")
    with pytest.raises(LlmError, match=r"^HTTPS_PROXY: got a proxy of the kind 'socks5'.*takes http://HOST:PORT"):
        OpenAiCompatibleProvider("small", "https://models.example/v1")


@pytest.mark.parametrize("error", [LookupError("charset"), RuntimeError("loop"), UnicodeError("idna"), KeyError("x")])
async def test_whatever_a_library_raises_is_a_typed_failure(
    provider: OpenAiCompatibleProvider, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(provider._session, "post", fails)
    with pytest.raises(LlmError) as caught:
        await everything(provider)
    assert caught.value.failure == "unavailable"
    assert str(error) not in str(caught.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(
    standin: OpenAiStandin, provider: OpenAiCompatibleProvider, status: int
) -> None:
    """307 and 308 would post the conversation to whatever host the answer names."""
    async with OpenAiStandin() as elsewhere:
        standin.answer = lambda _: Redirect(status, f"{elsewhere.url}/chat/completions?key=tulip")
        with pytest.raises(LlmError, match=f"127.0.0.1:[0-9]+ answered {status}, a redirect") as caught:
            await everything(provider)
        standin.models_status, standin.models_headers = status, {"Location": f"{elsewhere.url}/models"}
        with pytest.raises(LlmError, match="a redirect"):
            await provider.warm_up()
        assert elsewhere.requests == []
    assert caught.value.failure == "invalid_request"
    assert "tulip" not in str(caught.value)
    assert str(elsewhere.url) not in str(caught.value)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "x-any"])
async def test_a_compressed_answer_is_refused_unread(
    standin: OpenAiStandin, provider: OpenAiCompatibleProvider, encoding: str
) -> None:
    """400 MB of line ends are 400 KB of gzip."""
    standin.answer = lambda _: Verbatim((gzip.compress(b"\n" * 10_000_000),), encoding)
    with pytest.raises(LlmError, match="compresses its answers") as caught:
        await everything(provider)
    assert caught.value.failure == "invalid_request"
    assert standin.headers[0]["Accept-Encoding"] == "identity"
    standin.models_headers = {"Content-Encoding": encoding}
    with pytest.raises(LlmError, match="compresses its answers"):
        await provider.warm_up()


@pytest.mark.parametrize("body", [b"[" * 990 + b"]" * 990, b'{"error": ' + b"[" * 990 + b"]" * 990 + b"}", b"\xff" * 9])
async def test_a_refusal_that_can_not_be_read_is_a_refusal(
    standin: OpenAiStandin, provider: OpenAiCompatibleProvider, body: bytes
) -> None:
    standin.models_status, standin.models_body = 500, body
    with pytest.raises(LlmError, match=r"answered 500 \(no code\)"):
        await provider.warm_up()


@pytest.mark.parametrize("block", [b"a" * 65_536, b"data: " + b"[" * 65_536])
async def test_a_line_without_end_ends_the_answer(
    standin: OpenAiStandin, provider: OpenAiCompatibleProvider, block: bytes
) -> None:
    standin.answer = lambda _: Verbatim(itertools.repeat(block))
    with pytest.raises(LlmError, match="a line of more than"):
        await everything(provider)
    await standin.until(lambda it: it.cancelled == 1)


async def test_what_a_server_sends_after_its_answer_is_not_waited_for(
    standin: OpenAiStandin, provider: OpenAiCompatibleProvider
) -> None:
    done = f"data: {chunk({'content': 'Hello.'}, 'stop')}\n\ndata: [DONE]\n\n".encode()
    standin.answer = lambda _: Verbatim(itertools.chain([done], itertools.repeat(b"\n" * 65_536)))
    assert said(await everything(provider)) == "Hello."
    await standin.until(lambda it: it.cancelled == 1)
