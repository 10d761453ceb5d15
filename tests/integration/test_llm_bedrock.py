"""The Bedrock provider against a server that speaks ConverseStream: streaming, tools, cancellation, errors, warmth."""

import asyncio
import contextlib
import itertools
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from server.llm.bedrock import BedrockProvider
from server.llm.converse import ConverseOptions
from server.llm.decoding import MOST_TOKENS
from server.llm.interface import (
    AssistantText,
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
from server.llm.model import Model
from server.llm_processor import LlmProcessor
from tests.support.bedrock_standin import BedrockStandin, Events, ServiceError, Silence, StreamError
from tests.support.openai_llm_standin import CutOff, Stall, ToolCallAnswer

MODEL = "anthropic.claude-haiku-4-5-20251001-v1:0"
SECRET = "my password is tulip"
HELLO = ChatRequest("Be brief.", [UserText(SECRET)])
WEATHER = Tool("get_weather", "Weather of a city", {"type": "object", "properties": {"city": {"type": "string"}}})


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Standard variables, and none of this machine's own settings."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_BEARER_TOKEN_BEDROCK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


Connect = Callable[..., contextlib.AbstractAsyncContextManager[BedrockProvider]]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    @contextlib.asynccontextmanager
    async def provider_of(standin: BedrockStandin, **options: Any) -> AsyncIterator[BedrockProvider]:
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", standin.url)
        defaults: dict[str, Any] = {"max_requests": 4, "timeout_seconds": 5.0}
        provider = BedrockProvider(ConverseOptions(MODEL), **(defaults | options))
        try:
            yield provider
        finally:
            await provider.close()

    return provider_of


async def everything(provider: BedrockProvider, request: ChatRequest = HELLO) -> list[LlmEvent]:
    return [event async for event in provider.stream(request)]


async def test_text_streams_in_order_and_ends_with_the_usage(connect: Connect) -> None:
    async with BedrockStandin(answer=lambda _: "Hello there, caller.") as standin, connect(standin) as provider:
        events = await everything(provider)
    assert events == [
        TextDelta("Hello"),
        TextDelta(" there,"),
        TextDelta(" caller."),
        Finished("stop", Usage(input_tokens=15, output_tokens=3, cached_tokens=5)),
    ]
    assert standin.requests[0]["modelId"] == MODEL
    assert standin.requests[0]["system"][0] == {"text": "Be brief."}


async def test_the_first_token_is_there_before_the_answer_is_complete(connect: Connect) -> None:
    async with BedrockStandin(answer=lambda _: Stall("Hello")) as standin, connect(standin) as provider:
        stream = provider.stream(HELLO)
        assert await anext(stream) == TextDelta("Hello")
        await stream.aclose()


async def test_answers_one_after_the_other_share_a_connection(connect: Connect) -> None:
    async with BedrockStandin() as standin, connect(standin) as provider:
        await everything(provider)
        await everything(provider)
    assert len(standin.connections) == 1


async def test_as_many_answers_as_allowed_run_at_a_time(connect: Connect) -> None:
    async with (
        BedrockStandin(answer=lambda _: Stall("Hello")) as standin,
        connect(standin, max_requests=12) as provider,
    ):
        streams = [provider.stream(HELLO) for _ in range(12)]
        assert await asyncio.gather(*(anext(stream) for stream in streams)) == [TextDelta("Hello")] * 12
        for stream in streams:
            await stream.aclose()


async def test_a_function_call_makes_the_round_trip(connect: Connect) -> None:
    def answer(request: dict[str, Any]) -> str | ToolCallAnswer:
        results = [block for block in request["messages"][-1]["content"] if "toolResult" in block]
        return "It is sunny." if results else ToolCallAnswer("get_weather", {"city": "Paris"}, text="Let me look.")

    async with BedrockStandin(answer=answer) as standin, connect(standin) as provider:
        asked = ChatRequest("Be brief.", [UserText("Weather in Paris?")], tools=[WEATHER])
        events = await everything(provider, asked)
        assert ToolCallStarted("tooluse_1", "get_weather") in events
        arguments = "".join(event.arguments for event in events if isinstance(event, ToolCallDelta))
        assert arguments == '{"city": "Paris"}'
        assert isinstance(events[-1], Finished)
        assert events[-1].reason == "tool_calls"
        history = [
            *asked.messages,
            AssistantText("Let me look."),
            ToolCall("tooluse_1", "get_weather", arguments),
            ToolResult("tooluse_1", "sunny"),
        ]
        answered = await everything(provider, ChatRequest("Be brief.", history, tools=[WEATHER]))
    assert "".join(event.text for event in answered if isinstance(event, TextDelta)) == "It is sunny."


@pytest.mark.parametrize("answer", [Stall("Hello"), Stall(), Silence()], ids=["mid-answer", "no-text", "no-headers"])
async def test_closing_the_answer_hangs_up_at_once(connect: Connect, answer: Stall | Silence) -> None:
    async with BedrockStandin(answer=lambda _: answer) as standin, connect(standin, timeout_seconds=30) as provider:
        reading = asyncio.create_task(everything(provider))
        await standin.until(lambda it: len(it.requests) == 1)
        reading.cancel()
        await standin.until(lambda it: it.cancelled == 1)  # which waits for less than those 30 s
        standin.answer = lambda _: "Next."
        assert (await everything(provider))[0] == TextDelta("Next.")


async def test_closing_the_answer_hangs_up_at_once_over_tls(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    async with (
        BedrockStandin(answer=lambda _: Stall("Hello"), tls=context) as standin,
        connect(standin, timeout_seconds=30) as provider,
    ):
        stream = provider.stream(HELLO)
        assert await anext(stream) == TextDelta("Hello")
        await stream.aclose()
        await standin.until(lambda it: it.cancelled == 1, timeout=1.0)


async def test_closing_the_provider_ends_an_answer_that_hangs(connect: Connect) -> None:
    async with BedrockStandin(answer=lambda _: Silence()) as standin:
        async with connect(standin, timeout_seconds=30) as provider:
            reading = asyncio.create_task(everything(provider))
            await standin.until(lambda it: len(it.requests) == 1)
        reading.cancel()
        await standin.until(lambda it: it.cancelled == 1)


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (ServiceError(429, "ThrottlingException"), "throttled"),
        (ServiceError(400, "ServiceQuotaExceededException"), "throttled"),
        (ServiceError(429, "ModelNotReadyException"), "unavailable"),
        (ServiceError(408, "ModelTimeoutException"), "timeout"),
        (ServiceError(424, "ModelErrorException"), "unavailable"),
        (ServiceError(500, "InternalServerException"), "unavailable"),
        (ServiceError(503, "ServiceUnavailableException"), "unavailable"),
        (ServiceError(400, "ValidationException"), "invalid_request"),
        (ServiceError(403, "AccessDeniedException"), "invalid_request"),
        (ServiceError(404, "ResourceNotFoundException"), "invalid_request"),
        (StreamError("", "throttlingException"), "throttled"),
        (StreamError("Hello", "throttlingException"), "interrupted"),
        (StreamError("Hello", "modelStreamErrorException"), "interrupted"),
        (CutOff("Hello"), "interrupted"),
        (CutOff(), "unavailable"),
        (Stall("Hello"), "timeout"),
        (Silence(), "timeout"),
    ],
    ids=str,
)
async def test_what_goes_wrong_is_told_by_its_kind(connect: Connect, answer: Any, failure: str) -> None:
    async with BedrockStandin(answer=lambda _: answer) as standin, connect(standin, timeout_seconds=0.3) as provider:
        with pytest.raises(LlmError) as caught:
            await everything(provider)
    assert caught.value.failure == failure
    assert SECRET not in str(caught.value)
    assert len(standin.requests) == 1


async def test_a_server_that_is_not_there_is_unavailable(connect: Connect) -> None:
    async with BedrockStandin() as standin:
        pass
    async with connect(standin) as provider:
        with pytest.raises(LlmError) as caught:
            await everything(provider)
    assert caught.value.failure == "unavailable"


@pytest.mark.parametrize(
    ("refused", "hint"),
    [
        (ServiceError(403, "AccessDeniedException"), "lacks bedrock:InvokeModelWithResponseStream"),
        (ServiceError(400, "ValidationException"), "inference profiles such as us"),
        (ServiceError(404, "ResourceNotFoundException"), "this region has no such model"),
    ],
)
async def test_who_starts_a_node_hears_where_to_look_when_the_model_is_refused(
    connect: Connect, refused: ServiceError, hint: str
) -> None:
    async with BedrockStandin(answer=lambda _: refused) as standin, connect(standin) as provider:
        with pytest.raises(LlmError, match=f"{refused.code} for the model .*{hint}") as caught:
            await provider.warm_up()
    assert not caught.value.retryable


async def test_missing_credentials_are_told_at_the_start(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    async with BedrockStandin() as standin, connect(standin) as provider:
        with pytest.raises(LlmError, match="AWS_ACCESS_KEY_ID") as caught:
            await provider.warm_up()
    assert caught.value.failure == "invalid_request"


async def test_a_missing_region_is_told_at_the_start(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION")
    async with BedrockStandin() as standin, connect(standin) as provider:
        with pytest.raises(LlmError, match="AWS_REGION"):
            await provider.warm_up()


async def test_an_idle_model_is_kept_warm_with_requests_of_one_token(connect: Connect) -> None:
    async with BedrockStandin() as standin, connect(standin, keep_warm_seconds=0.02) as provider:
        await provider.warm_up()
        await standin.until(lambda it: len(it.requests) >= 3)
    assert all(request["inferenceConfig"] == {"maxTokens": 1} for request in standin.requests)


async def test_a_failed_keep_warm_request_is_not_the_last(connect: Connect) -> None:
    async with BedrockStandin() as standin, connect(standin, keep_warm_seconds=0.02) as provider:
        await provider.warm_up()
        standin.answer = lambda _: ServiceError(503, "ServiceUnavailableException")
        await standin.until(lambda it: len(it.requests) >= 4)


async def test_a_model_without_prompt_caching_is_served_without(connect: Connect) -> None:
    def answer(request: dict[str, Any]) -> str | ServiceError:
        cached = {"cachePoint": {"type": "default"}} in request["system"]
        return ServiceError(403, "AccessDeniedException") if cached else "Hello."

    async with BedrockStandin(answer=answer) as standin, connect(standin) as provider:
        await provider.warm_up()
        assert (await everything(provider))[0] == TextDelta("Hello.")
    assert len(standin.requests) == 3


async def test_a_request_that_is_too_long_is_told_as_such(connect: Connect) -> None:
    answer = ServiceError(400, "ValidationException", "Input is too long for requested model.")
    async with BedrockStandin(answer=lambda _: answer) as standin, connect(standin) as provider:
        with pytest.raises(LlmError) as caught:
            await everything(provider)
    assert caught.value.failure == "context_length_exceeded"


async def test_fields_that_the_model_does_not_take_are_left_out_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(request: dict[str, Any]) -> str | ServiceError:
        return ServiceError(400, "ValidationException") if "additionalModelRequestFields" in request else "Hello."

    async with BedrockStandin(answer=answer) as standin:
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", standin.url)
        options = ConverseOptions("us.amazon.nova-2-lite-v1:0")
        provider = BedrockProvider(options, max_requests=4, timeout_seconds=5.0)
        for _ in range(2):
            events = await everything(provider, ChatRequest("", [UserText("Hi.")], reasoning_effort="low"))
            assert events[0] == TextDelta("Hello.")
        await provider.close()
    assert ["additionalModelRequestFields" in request for request in standin.requests] == [True, False, False]


async def test_a_request_that_is_wrong_without_them_too_is_refused_and_says_nothing_of_them(connect: Connect) -> None:
    request = ChatRequest("", [UserText("Hi.")], tools=[WEATHER], parallel_tool_calls=False)
    answer: Any = ServiceError(400, "ValidationException")
    async with BedrockStandin(answer=lambda _: answer) as standin, connect(standin) as provider:
        with pytest.raises(LlmError):
            await everything(provider, request)
        answer = "Hello."
        await everything(provider, request)
    assert "additionalModelRequestFields" in standin.requests[-1]


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "AWS_ENDPOINT_URL"])
async def test_an_endpoint_without_a_scheme_is_refused_by_its_setting(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "localhost:4566")
    provider = BedrockProvider(ConverseOptions(MODEL), max_requests=4, timeout_seconds=5.0)
    with pytest.raises(LlmError, match=rf"^{name}: got 'localhost:4566'; takes an address such as https://") as caught:
        await provider.warm_up()
    assert not caught.value.retryable
    await provider.close()


async def test_every_event_of_an_answer_is_a_sign_of_life(connect: Connect) -> None:
    beats: list[None] = []
    async with BedrockStandin(answer=lambda _: "Hello there.") as standin, connect(standin) as provider:
        request = ChatRequest("", [UserText("Hi.")], heartbeat=lambda: beats.append(None))
        events = await everything(provider, request)
    assert len(beats) > len(events)


async def test_keys_that_have_expired_are_read_anew_for_the_next_request(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """openclaw#77551: static keys are rotated in the credentials file."""
    async with BedrockStandin() as standin, connect(standin) as provider:
        standin.key_ids = {"AKIDEXAMPLE"}
        await everything(provider)
        standin.key_ids = {"AKIDNEW"}
        with pytest.raises(LlmError) as caught:
            await everything(provider)
        assert caught.value.retryable
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDNEW")
        assert (await everything(provider))[0] == TextDelta("Hello")


async def test_keys_that_never_worked_are_refused_and_those_that_come_after_them_are_used(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with BedrockStandin() as standin, connect(standin) as provider:
        standin.key_ids = {"AKIDNEW"}
        with pytest.raises(LlmError) as caught:
            await everything(provider)
        assert not caught.value.retryable
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDNEW")
        assert (await everything(provider))[0] == TextDelta("Hello")


TEXT = ("contentBlockDelta", b'{"contentBlockIndex": 0, "delta": {"text": "Hi."}}')
DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff\xfe", b"", b"{", b"null", b"[]", DEEP, b'{"delta": ' + DEEP + b"}", b'{"delta": {"text": "\xff"}}',
        b'{"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": [], "name": {}}}}', b'{"delta": {"text": 5}}',
        b'{"contentBlockIndex": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda payload: payload[:20],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["contentBlockDelta", "contentBlockStart", "messageStop", "metadata", "unheard-of"])
async def test_an_event_that_can_not_be_read_costs_itself_or_is_a_typed_failure(
    connect: Connect, kind: str, payload: bytes
) -> None:
    async with (
        BedrockStandin(answer=lambda _: Events([TEXT, (kind, payload)])) as standin,
        connect(standin) as provider,
    ):
        try:
            events = await everything(provider)
        except LlmError as error:
            assert error.failure == "interrupted"  # noqa: PT017  # either is right
        else:
            assert events[0] == TextDelta("Hi.")
            assert isinstance(events[-1], Finished)


async def test_absurd_usage_costs_itself_alone(connect: Connect) -> None:
    usage = {"inputTokens": 10**30, "outputTokens": -1, "cacheReadInputTokens": 10**400}
    async with BedrockStandin(answer=lambda _: Events([TEXT], usage)) as standin, connect(standin) as provider:
        assert await everything(provider) == [
            TextDelta("Hi."),
            Finished("stop", Usage(MOST_TOKENS, 0, MOST_TOKENS)),
        ]


@pytest.mark.parametrize(
    "event",
    [TEXT, ("contentBlockDelta", b'{"delta": {"reasoningContent": {"text": "' + b"Hm. " * 5000 + b'"}}}')],
    ids=["text", "thoughts"],
)
async def test_an_answer_without_end_ends_as_the_token_limit_would_end_it(
    connect: Connect, event: tuple[str, bytes]
) -> None:
    async with (
        BedrockStandin(answer=lambda _: Events(itertools.repeat(event))) as standin,
        connect(standin) as provider,
    ):
        llm = LlmProcessor([Model("bedrock", provider, 5.0)], max_tokens=512)
        events = [event async for event in llm.stream(HELLO)]
        assert events[-1] == Finished("length")
        assert sum(len(event.text) for event in events if isinstance(event, TextDelta)) <= 16_384
        await standin.until(lambda it: it.cancelled == 1)


async def test_an_event_without_end_is_not_collected(connect: Connect) -> None:
    long = ("contentBlockDelta", b'{"delta": {"text": "' + b"word " * 4_000_000 + b'"}}')
    async with BedrockStandin(answer=lambda _: Events([TEXT, long])) as standin, connect(standin) as provider:
        llm = LlmProcessor([Model("bedrock", provider, 5.0)], max_tokens=512)
        with pytest.raises(LlmError, match="an event of more than 131072 bytes") as raised:
            [event async for event in llm.stream(HELLO)]
        assert raised.value.failure == "interrupted"
        await standin.until(lambda it: it.cancelled == 1)


async def test_many_events_may_be_longer_than_one(connect: Connect) -> None:
    text = ("contentBlockDelta", b'{"delta": {"text": "' + b"word " * 2_000 + b'"}}')
    async with BedrockStandin(answer=lambda _: Events([text] * 40)) as standin, connect(standin) as provider:
        llm = LlmProcessor([Model("bedrock", provider, 5.0)], max_tokens=100_000)
        events = [event async for event in llm.stream(HELLO)]
        assert events[-1] == Finished("stop")
        assert sum(len(event.text) for event in events if isinstance(event, TextDelta)) == 400_000
