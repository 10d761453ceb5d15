"""The embedded SmolLM2, with its real weights from the model store."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

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
    ToolResult,
    UserText,
)
from server.llm.local import LocalProvider
from server.llm.providers import LOCAL_MODEL
from server.llm_processor import LlmProcessor
from server.settings.loading import load_settings
from server.settings.settings import Settings

pytestmark = pytest.mark.asyncio(loop_scope="module")

INSTRUCTIONS = "You are a helpful assistant. Answer in one short sentence."


def ask(*messages: ChatMessage, tokens: int | None = None) -> ChatRequest:
    return ChatRequest(INSTRUCTIONS, messages, max_output_tokens=tokens, temperature=0.0)


def said(events: list[LlmEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def model() -> AsyncIterator[LlmProcessor]:
    store = load_settings().model_dir.expanduser()
    settings = Settings(llm="local", instructions=INSTRUCTIONS, llm_timeout_seconds=60)
    processor = LlmProcessor.from_settings(settings, lambda name: store / name)
    await processor.warm_up()
    yield processor
    await processor.close()


async def everything(model: LlmProcessor, request: ChatRequest) -> list[LlmEvent]:
    return [event async for event in model.stream(request)]


async def test_it_answers_a_question(model: LlmProcessor) -> None:
    events = await everything(model, ask(UserText("How many legs does a spider have?")))
    assert "eight" in said(events).lower() or "8" in said(events)
    assert isinstance(events[-1], Finished)
    assert events[-1].usage.output_tokens > 0


async def test_what_it_has_read_before_it_does_not_read_again(model: LlmProcessor) -> None:
    events = await everything(model, ask(UserText("What is the capital of Norway?"), tokens=8))
    assert isinstance(events[-1], Finished)
    assert events[-1].usage.cached_tokens >= 15


async def test_calls_at_the_same_time_get_their_own_answers(model: LlmProcessor) -> None:
    questions = ("How many legs does a spider have?", "What is the opposite of hot?", "What colour is the sky?")
    answers = await asyncio.gather(*(everything(model, ask(UserText(question))) for question in questions))
    for answer, words in zip(answers, (("eight", "8"), ("cold",), ("blue",)), strict=True):
        assert any(word in said(answer).lower() for word in words)


async def test_an_answer_stops_at_the_limit(model: LlmProcessor) -> None:
    events = await everything(model, ask(UserText("Tell me a long story about the sea."), tokens=5))
    assert isinstance(events[-1], Finished)
    assert (events[-1].reason, events[-1].usage.output_tokens) == ("length", 5)


async def test_a_conversation_that_outgrew_the_context_is_answered(model: LlmProcessor) -> None:
    turns: list[ChatMessage] = [UserText("The number is 1234567890. " * 8), AssistantText("I see, 1234567890. " * 8)]
    events = await everything(model, ask(*turns * 20, UserText("What is the opposite of hot?"), tokens=8))
    assert isinstance(events[-1], Finished)


async def test_a_message_longer_than_the_context_is_answered(model: LlmProcessor) -> None:
    events = await everything(model, ask(UserText("你好, 1234567890! " * 2000), tokens=4))
    assert isinstance(events[-1], Finished)


async def test_tools_of_the_session_do_not_disturb_it(model: LlmProcessor) -> None:
    tool = Tool("get_weather", "Weather", {"type": "object", "properties": {}})
    history = (UserText("Hello."), ToolCall("a", "get_weather", "{}"), ToolResult("a", "It is sunny."), UserText("Hi."))
    request = ChatRequest(INSTRUCTIONS, history, tools=[tool], tool_choice="required", max_output_tokens=8)
    assert said(await everything(model, request))


async def test_closing_an_answer_frees_its_slot(model: LlmProcessor) -> None:
    streams = [model.stream(ask(UserText("Tell me a long story about the sea."))) for _ in range(8)]
    for stream in streams:
        assert isinstance(await anext(stream), TextDelta)
        await stream.aclose()


async def test_a_model_that_is_not_there_is_told_at_the_start(tmp_path: Path) -> None:
    provider = LocalProvider(tmp_path / "missing.gguf")
    with pytest.raises(LlmError, match=r"missing\.gguf"):
        await provider.warm_up()
    await provider.close()


async def test_without_warm_up_it_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(LlmError) as caught:
        await anext(LocalProvider(tmp_path / LOCAL_MODEL).stream(ask(UserText("Hi."))))
    assert caught.value.failure == "unavailable"


async def test_a_library_that_can_not_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)  # Python's own way to make an import fail
    with pytest.raises(LlmError, match="library can't be loaded: import of xllamacpp") as raised:
        await LocalProvider(Path("model.gguf")).warm_up()
    assert not raised.value.retryable, "a node says so and ends"
