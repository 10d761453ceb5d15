"""The language model as the pipeline sees it: deadline, second try, metrics, the provider that the settings name."""

import asyncio
import itertools
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from server.llm.interface import (
    ChatRequest,
    Finished,
    LlmError,
    LlmEvent,
    Shortened,
    TakenOver,
    TextDelta,
    Tool,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
    UserText,
)
from server.llm_processor import LlmProcessor
from server.observability.metrics import REGISTRY
from server.settings.settings import Settings
from tests.support.bedrock_standin import BedrockStandin
from tests.support.openai_llm_standin import (
    Answer,
    CutOff,
    OpenAiStandin,
    Raw,
    Refusal,
    Stall,
    ToolCallAnswer,
    Verbatim,
    prompt_tokens,
)

SECRET = "my password is tulip"
HELLO = ChatRequest("Be brief.", [UserText(SECRET)])
DEADLINE = 1.0  # seconds; some fractions of it pass on purpose, and a busy machine takes some by itself


def no_models(name: str) -> Path:
    raise AssertionError(f"asked for the model {name}")


@pytest.fixture
async def standin() -> AsyncIterator[OpenAiStandin]:
    async with OpenAiStandin() as server:
        yield server


@pytest.fixture
async def llm(standin: OpenAiStandin) -> AsyncIterator[LlmProcessor]:
    settings = Settings(llm=f"openai:small@{standin.url}", llm_timeout_seconds=DEADLINE, llm_max_tokens=77)
    processor = LlmProcessor.from_settings(settings, no_models)
    yield processor
    await processor.close()


async def everything(llm: LlmProcessor, request: ChatRequest = HELLO) -> list[LlmEvent]:
    return [event async for event in llm.stream(request)]


async def test_a_key_that_was_changed_is_shown_with_the_next_request(llm: LlmProcessor, standin: OpenAiStandin) -> None:
    await everything(llm)
    name = f"openai:small@{standin.url}"
    for key in ("first", "second"):
        llm.take_keys(Settings(llm=name, llm_api_key=SecretStr(key)))
        await everything(llm)
    llm.take_keys(Settings(llm=name))
    await everything(llm)
    shown = [headers.get("Authorization") for headers in standin.headers]
    assert shown == [None, "Bearer first", "Bearer second", None]


def count(metric: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"voice_{metric}_total", labels) or 0.0


@pytest.mark.parametrize("failure", [Refusal(429), Refusal(503), CutOff()], ids=str)
async def test_what_fails_before_the_first_event_is_asked_for_again(
    standin: OpenAiStandin, llm: LlmProcessor, failure: Answer
) -> None:
    answers: list[Answer] = [failure, "Hello."]
    standin.answer = lambda _: answers.pop(0)
    assert (await everything(llm))[0] == TextDelta("Hello.")
    assert len(standin.requests) == 2
    assert llm.state == "ok"


async def test_what_fails_twice_has_failed(standin: OpenAiStandin, llm: LlmProcessor) -> None:
    before = count("llm_errors", failure="throttled")
    standin.answer = lambda _: Refusal(429)
    with pytest.raises(LlmError) as caught:
        await everything(llm)
    assert caught.value.failure == "throttled"
    assert len(standin.requests) == 2
    assert count("llm_errors", failure="throttled") == before + 2
    assert llm.state == "failing"


async def test_what_is_invalid_is_not_asked_for_again(standin: OpenAiStandin, llm: LlmProcessor) -> None:
    standin.answer = lambda _: Refusal(400)
    with pytest.raises(LlmError):
        await everything(llm)
    assert len(standin.requests) == 1


async def test_what_has_begun_is_asked_once_for_its_rest(standin: OpenAiStandin, llm: LlmProcessor) -> None:
    standin.answer = lambda _: CutOff("Hello and ")
    stream = llm.stream(HELLO)
    assert [await anext(stream) for _ in range(3)] == [TextDelta("Hello "), TextDelta("and "), TakenOver()]
    with pytest.raises(LlmError):
        await anext(stream)
    assert len(standin.requests) == 2


@pytest.mark.parametrize("stall", [Stall(), Stall("Hello")], ids=["before-the-first", "after-it"])
async def test_a_wait_that_is_too_long_fails_once_and_hangs_up(
    standin: OpenAiStandin, llm: LlmProcessor, stall: Stall
) -> None:
    standin.answer = lambda _: stall
    with pytest.raises(LlmError) as caught:
        await everything(llm)
    assert caught.value.failure == "timeout"
    await standin.until(lambda it: it.cancelled == 1)
    assert len(standin.requests) == 1


async def test_the_deadline_is_for_each_event_not_for_the_answer(standin: OpenAiStandin, llm: LlmProcessor) -> None:
    standin.answer = lambda _: "one two three four five six seven eight"
    standin.token_seconds = DEADLINE / 5
    assert len(await everything(llm)) == 9


async def test_a_sign_of_life_prolongs_the_wait(standin: OpenAiStandin, llm: LlmProcessor) -> None:
    """openclaw#64432: a model that thinks for longer than the deadline."""
    thoughts = (b": still here\n\n", b'data: {"choices": [{"delta": {"reasoning": "Hm."}}]}\n\n') * 4
    done = b'data: {"choices": [{"delta": {"content": "Done."}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
    standin.answer, standin.token_seconds = (lambda _: Verbatim((*thoughts, done))), DEADLINE / 5
    assert (await everything(llm))[0] == TextDelta("Done.")


async def test_a_model_that_thinks_and_then_falls_silent_fails(standin: OpenAiStandin, llm: LlmProcessor) -> None:
    standin.answer = lambda _: Stall("<think>")
    with pytest.raises(LlmError) as caught:
        await everything(llm)
    assert caught.value.failure == "timeout"


LONG = [UserText(f"{number} {'word ' * 9}") for number in range(10)]


async def test_a_request_that_is_too_long_is_asked_once_more_shortened(
    standin: OpenAiStandin, llm: LlmProcessor
) -> None:
    """livekit/agents#3304."""
    standin.context_tokens = 60
    events = await everything(llm, ChatRequest("Be brief.", LONG))
    assert events[0] == Shortened(frozenset(range(5)))
    assert isinstance(events[-1], Finished)
    assert [prompt_tokens(request) for request in standin.requests] == [102, 52]
    assert llm.state == "ok"


@pytest.mark.parametrize(
    "request_",
    [ChatRequest("", LONG, may_be_shortened=False), ChatRequest("", LONG[:1])],
    ids=["not-wanted", "nothing-to-leave-out"],
)
async def test_one_that_may_not_or_can_not_be_shortened_fails(
    standin: OpenAiStandin, llm: LlmProcessor, request_: ChatRequest
) -> None:
    standin.context_tokens = 5
    with pytest.raises(LlmError) as caught:
        await everything(llm, request_)
    assert caught.value.failure == "context_length_exceeded"
    assert len(standin.requests) == 1


async def test_one_that_is_still_too_long_fails(standin: OpenAiStandin, llm: LlmProcessor) -> None:
    standin.context_tokens = 20
    with pytest.raises(LlmError) as caught:
        await everything(llm, ChatRequest("", LONG))
    assert caught.value.failure == "context_length_exceeded"
    assert len(standin.requests) == 2


async def test_a_model_that_calls_two_functions_where_one_is_wanted_calls_the_first(
    standin: OpenAiStandin, llm: LlmProcessor
) -> None:
    standin.answer = lambda _: [ToolCallAnswer("get_weather", {"city": "Oslo"}), ToolCallAnswer("get_time")]
    for allowed, names in ((None, ["get_weather", "get_time"]), (False, ["get_weather"])):
        events = await everything(llm, ChatRequest("", [UserText("Go.")], parallel_tool_calls=allowed))
        assert [event.name for event in events if isinstance(event, ToolCallStarted)] == names
        calls = [event for event in events if isinstance(event, ToolCallStarted | ToolCallDelta)]
        assert len({event.call_id for event in calls}) == len(names)


async def test_closing_the_answer_hangs_up(standin: OpenAiStandin, llm: LlmProcessor) -> None:
    standin.answer = lambda _: Stall("Hello.")
    stream = llm.stream(HELLO)
    assert await anext(stream) == TextDelta("Hello.")
    await stream.aclose()
    await standin.until(lambda it: it.cancelled == 1, timeout=0.9 * DEADLINE)


async def test_tokens_are_counted(standin: OpenAiStandin, llm: LlmProcessor) -> None:
    standin.answer = lambda _: "one two three"
    before = {kind: count("llm_tokens", kind=kind) for kind in ("input", "output", "cached")}
    events = await everything(llm)
    assert events[-1] == Finished("stop", Usage(input_tokens=6, output_tokens=3))
    assert count("llm_tokens", kind="input") == before["input"] + 6
    assert count("llm_tokens", kind="output") == before["output"] + 3


@pytest.mark.parametrize(("asked", "sent"), [(None, 77), (12, 12)])
async def test_a_request_without_a_limit_gets_the_setting(
    standin: OpenAiStandin, llm: LlmProcessor, asked: int | None, sent: int
) -> None:
    await everything(llm, ChatRequest("", [UserText("Hi.")], max_output_tokens=asked))
    assert standin.requests[0]["max_tokens"] == sent


async def test_the_state_tells_how_it_goes(standin: OpenAiStandin, llm: LlmProcessor) -> None:
    states: list[str] = [llm.state]
    standin.models_status = 503
    with pytest.raises(LlmError):
        await llm.warm_up()
    states.append(llm.state)
    standin.models_status = 200
    await llm.warm_up()
    states.append(llm.state)
    assert states == ["starting", "failing", "ok"]


async def test_a_model_that_was_not_well_at_the_start_is_tried_again_and_each_failure_counts(
    standin: OpenAiStandin, llm: LlmProcessor
) -> None:
    def errors() -> float:
        return REGISTRY.get_sample_value("voice_llm_errors_total", {"failure": "unavailable"}) or 0.0

    before, standin.models_status = errors(), 503
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(llm.warm_up_again(0.01))
        while errors() < before + 3:  # noqa: ASYNC110  # a counter has no event
            await asyncio.sleep(0.01)
        states: list[str] = [llm.state]
        standin.models_status = 200
    assert [*states, llm.state] == ["failing", "ok"]


async def test_no_log_line_holds_what_was_said(standin: OpenAiStandin, llm: LlmProcessor) -> None:
    standin.answer = lambda _: CutOff(SECRET)
    with capture_logs() as lines, pytest.raises(LlmError):
        await everything(llm)
    assert [line["event"] for line in lines] == ["llm_failed", "llm_failover", "llm_failed"]
    assert SECRET not in str(lines)


async def test_bedrock_is_reached_through_the_settings_and_the_standard_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    settings = Settings(
        llm="bedrock:us.amazon.nova-lite-v1:0",
        bedrock_latency="optimized",
        bedrock_guardrail_id="gr-1",
        bedrock_guardrail_version="3",
        llm_keep_warm_seconds=0,
    )
    async with BedrockStandin() as standin:
        monkeypatch.setenv("AWS_ENDPOINT_URL", standin.url)
        llm = LlmProcessor.from_settings(settings, no_models)
        await everything(llm)
        await llm.close()
    request = standin.requests[0]
    assert request["modelId"] == "us.amazon.nova-lite-v1:0"
    assert request["inferenceConfig"] == {"maxTokens": settings.llm_max_tokens}
    assert request["performanceConfig"] == {"latency": "optimized"}
    assert request["guardrailConfig"] == {
        "guardrailIdentifier": "gr-1",
        "guardrailVersion": "3",
        "streamProcessingMode": "async",
    }


async def test_a_user_in_the_url_is_the_requests_credential(standin: OpenAiStandin) -> None:
    url = standin.url.replace("http://", "http://anna:tu%40lip@")
    llm = LlmProcessor.from_settings(Settings(llm=f"openai:a@b@{url}"), no_models)
    await everything(llm)
    await llm.close()
    assert standin.requests[0]["model"] == "a@b"
    assert standin.headers[0]["Authorization"] == f"Basic {b64encode(b'anna:tu@lip').decode()}"


# --- an answer has bounds

WEATHER = Tool("get_weather", "", {"type": "object", "properties": {}})
ASKS_FOR_TOOLS = ChatRequest("", [UserText("Hi.")], tools=[WEATHER])


def event(**delta: Any) -> bytes:
    return f"data: {json.dumps({'choices': [{'index': 0, 'delta': delta}]})}\n\n".encode()


def call(arguments: str, index: int = 0, name: str = "") -> bytes:
    return event(tool_calls=[{"index": index, "function": {"arguments": arguments, "name": name}}])


async def test_an_answer_without_end_ends_as_the_token_limit_would_end_it(
    standin: OpenAiStandin, llm: LlmProcessor
) -> None:
    before = count("llm_bounded_answers", bound="text")
    standin.answer = lambda _: Verbatim(itertools.repeat(event(content=" word" * 50)))
    with capture_logs() as logs:
        events = await everything(llm)
    assert events[-1] == Finished("length")
    assert sum(len(event.text) for event in events if isinstance(event, TextDelta)) == 16_384
    assert count("llm_bounded_answers", bound="text") == before + 1
    assert {"event": "llm_answer_bounded", "log_level": "warning", "bound": "text"} in logs
    await standin.until(lambda it: it.cancelled == 1)
    assert len(standin.requests) == 1


@pytest.mark.parametrize(
    "block", [event(reasoning_content="Hm. " * 5000), b": wait\n" * 5000, b"\n" * 50_000, event(content="") * 100]
)
async def test_an_answer_of_nothing_but_thoughts_or_comments_ends(
    standin: OpenAiStandin, llm: LlmProcessor, block: bytes
) -> None:
    before = count("llm_bounded_answers", bound="bytes")
    standin.answer = lambda _: Verbatim(itertools.chain([event(content="Hi.")], itertools.repeat(block)))
    assert await everything(llm) == [TextDelta("Hi."), Finished("length")]
    standin.answer = lambda _: Verbatim(itertools.repeat(block))
    assert await everything(llm) == [Finished("length")]
    assert count("llm_bounded_answers", bound="bytes") == before + 2
    await standin.until(lambda it: it.cancelled == 2)
    assert len(standin.requests) == 2


@pytest.mark.parametrize("answer", [Verbatim(itertools.repeat(event(content=" word"))), Stall("Hi.")])
async def test_an_answer_that_is_not_over_in_time_ends_as_the_token_limit_would_end_it(
    standin: OpenAiStandin, answer: Verbatim | Stall
) -> None:
    """A model that writes a word from time to time keeps a call's answer, and what it costs, open for hours."""
    before = count("llm_bounded_answers", bound="seconds")
    standin.answer, standin.token_seconds = (lambda _: answer), 0.01
    settings = Settings(llm=f"openai:small@{standin.url}", max_answer_seconds=1.0)
    llm = LlmProcessor.from_settings(settings, no_models)
    assert (await everything(llm))[-1] == Finished("length")
    assert count("llm_bounded_answers", bound="seconds") == before + 1
    await standin.until(lambda it: it.cancelled == 1)
    await llm.close()


@pytest.mark.parametrize("name", ["get_weather", ""], ids=["told", "never-told"])
async def test_arguments_without_end_are_a_failure(standin: OpenAiStandin, llm: LlmProcessor, name: str) -> None:
    standin.answer = lambda _: Verbatim(
        itertools.chain([call('{"city": "', name=name)], itertools.repeat(call("a" * 5000)))
    )
    before = count("llm_bounded_answers", bound="arguments")
    with pytest.raises(LlmError, match="more than 16384 characters"):
        await everything(llm, ASKS_FOR_TOOLS)
    assert count("llm_bounded_answers", bound="arguments") == before + 1
    await standin.until(lambda it: it.cancelled == 1)
    assert len(standin.requests) == 1


async def test_calls_without_end_are_a_failure(standin: OpenAiStandin, llm: LlmProcessor) -> None:
    standin.answer = lambda _: Verbatim(call("{}", index, name="get_weather") for index in itertools.count())
    with pytest.raises(LlmError, match="more than 128 functions"):
        await everything(llm, ASKS_FOR_TOOLS)
    await standin.until(lambda it: it.cancelled == 1)
    assert len(standin.requests) == 1


@pytest.mark.parametrize("tokens", [10**400, 10**30, -5, "many", 1.5, True, {}])
async def test_absurd_usage_costs_itself_alone(standin: OpenAiStandin, llm: LlmProcessor, tokens: Any) -> None:
    done = {"choices": [{"delta": {"content": "Hi."}, "finish_reason": "stop"}], "usage": {"prompt_tokens": tokens}}
    standin.answer = lambda _: Raw((json.dumps(done), "[DONE]"))
    events = await everything(llm)
    assert events[0] == TextDelta("Hi.")
    assert isinstance(events[-1], Finished)
    assert 0 <= events[-1].usage.input_tokens <= 10_000_000
    assert llm.state == "ok"
