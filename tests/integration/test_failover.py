"""Language models that hang, refuse, are slow or break off: another answers, or goes on, and nothing is said twice."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from server.llm.interface import (
    ChatRequest,
    Finished,
    LlmError,
    LlmEvent,
    TakenOver,
    TextDelta,
    Tool,
    ToolCallDelta,
    ToolCallStarted,
    UserText,
)
from server.llm_processor import LlmProcessor
from server.observability.metrics import REGISTRY
from server.settings.settings import Settings
from server.spoken_lines import BUNDLED
from tests.integration.test_llm_processor import no_models
from tests.support.bedrock_standin import BedrockStandin, ServiceError
from tests.support.in_thread import in_thread
from tests.support.live_call import LiveCall, answer_text, live_call
from tests.support.node import NodeProcess, running_node
from tests.support.openai_llm_standin import (
    Answer,
    CutOff,
    OpenAiStandin,
    Raw,
    Refusal,
    Request,
    Stall,
    ToolCallAnswer,
)
from tests.support.scripted_voice import ScriptedVoice, served

HELLO = ChatRequest("Be brief.", [UserText("When are you open?")])
BEGUN, REST = "We are open from", "nine to five."
WHOLE = f"{BEGUN} {REST}"
BOOK = Tool("book", "", {"type": "object", "properties": {"room": {"type": "string"}}})
LINES = BUNDLED["en"]


@pytest.fixture
async def first() -> AsyncIterator[OpenAiStandin]:
    async with OpenAiStandin(answer=lambda _: WHOLE) as standin:
        yield standin


@pytest.fixture
async def second() -> AsyncIterator[OpenAiStandin]:
    async with OpenAiStandin(answer=lambda _: WHOLE) as standin:
        yield standin


@pytest.fixture
async def models(first: OpenAiStandin, second: OpenAiStandin) -> AsyncIterator[LlmProcessor]:
    settings = Settings(llm=f"openai:a@{first.url},openai:b@{second.url}", llm_timeout_seconds=5.0)
    processor = LlmProcessor.from_settings(settings, no_models)
    yield processor
    await processor.close()


async def everything(models: LlmProcessor, request: ChatRequest = HELLO) -> list[LlmEvent]:
    return [event async for event in models.stream(request)]


def text_of(events: list[LlmEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def failovers(first: OpenAiStandin, second: OpenAiStandin, reason: str) -> float:
    labels = {"from": f"openai:a@{first.url}", "to": f"openai:b@{second.url}", "reason": reason}
    return REGISTRY.get_sample_value("voice_llm_failovers_total", labels) or 0.0


def hedges(outcome: str) -> float:
    return REGISTRY.get_sample_value("voice_llm_hedges_total", {"outcome": outcome}) or 0.0


def goes_on(request: Request) -> Answer:
    """A model that is asked to go on says the rest."""
    messages = [message["content"] for message in request["messages"]]
    return REST if BEGUN in messages else WHOLE


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (Refusal(429), "throttled"),
        (Refusal(500), "unavailable"),
        (Refusal(401, "invalid_api_key"), "invalid_request"),
        (CutOff(), "unavailable"),
    ],
    ids=["429", "500", "401", "cut off before a word"],
)
async def test_the_next_answers_when_the_first_fails(
    models: LlmProcessor, first: OpenAiStandin, second: OpenAiStandin, failure: Answer, reason: str
) -> None:
    first.answer = lambda _: failure
    events = await everything(models)
    assert text_of(events) == WHOLE
    assert TakenOver() not in events
    assert failovers(first, second, reason) == 1
    assert (len(first.requests), len(second.requests)) == (1, 1)
    assert models.state == "ok"


@pytest.mark.parametrize("hangs", [Stall(), WHOLE], ids=["hangs", "is slow"])
async def test_the_next_is_asked_beside_one_that_does_not_begin(
    models: LlmProcessor, first: OpenAiStandin, second: OpenAiStandin, hangs: Answer
) -> None:
    won = hedges("won")
    first.answer, first.first_token_seconds = (lambda _: hangs), 60.0 if hangs == WHOLE else 0.0
    assert text_of(await everything(models)) == WHOLE
    await first.until(lambda it: it.cancelled == 1)
    assert failovers(first, second, "slow") == 1
    assert hedges("won") == won + 1


async def test_a_second_that_is_slower_yet_is_cancelled(
    models: LlmProcessor, first: OpenAiStandin, second: OpenAiStandin
) -> None:
    lost = hedges("lost")
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def begin(_: Request) -> Answer:
        loop.call_soon_threadsafe(asked.set)
        return Stall()

    second.answer = begin
    first.first_token_seconds = 1.5  # of a model of which nothing is known, a second is waited for
    assert text_of(await everything(models)) == WHOLE
    assert asked.is_set()
    await second.until(lambda it: it.cancelled == 1)
    assert hedges("lost") == lost + 1


@pytest.mark.parametrize("begun", [CutOff(f"{BEGUN} "), CutOff(f"{BEGUN} ni"), Stall(BEGUN)], ids=str)
async def test_what_one_begins_the_next_finishes_from_the_last_whole_word(
    first: OpenAiStandin, second: OpenAiStandin, begun: Answer
) -> None:
    settings = Settings(llm=f"openai:a@{first.url},openai:b@{second.url}", llm_timeout_seconds=1.0)
    models = LlmProcessor.from_settings(settings, no_models)
    first.answer, second.answer, second.strict = (lambda _: begun), goes_on, True
    events = await everything(models)
    await models.close()
    assert text_of(events).split() == WHOLE.split()
    assert events.count(TakenOver()) == 1
    said, instruction = second.requests[0]["messages"][-2:]
    assert (said["role"], instruction["role"]) == ("assistant", "user")
    assert WHOLE.startswith(said["content"])


async def test_a_next_that_begins_all_over_is_not_heard_twice(
    models: LlmProcessor, first: OpenAiStandin, second: OpenAiStandin
) -> None:
    first.answer = lambda _: CutOff(f"{BEGUN} ")
    assert text_of(await everything(models)).split() == WHOLE.split()


async def test_a_thought_that_was_cut_off_is_nothing_to_go_on_with(
    models: LlmProcessor, first: OpenAiStandin, second: OpenAiStandin
) -> None:
    first.answer = lambda _: CutOff("<think>They ask about ")
    events = await everything(models)
    assert text_of(events[events.index(TakenOver()) :]) == WHOLE
    assert [message["role"] for message in second.requests[0]["messages"]] == ["system", "user"]


async def test_a_function_call_that_was_cut_off_is_made_once(
    models: LlmProcessor, first: OpenAiStandin, second: OpenAiStandin
) -> None:
    cut = [
        {"choices": [{"delta": {"content": "One moment. "}}]},
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "x", "function": {"name": "book"}}]}}]},
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": '{"room": "tw'}}]}}]},
        {"error": {"code": "server_error"}},
    ]
    first.answer = lambda _: Raw(tuple(map(json.dumps, cut)))
    second.answer = lambda _: ToolCallAnswer("book", {"room": "twelve"})
    events = await everything(models, ChatRequest("", [UserText("Book.")], tools=[BOOK]))
    assert text_of(events) == "One moment. "
    assert [event.name for event in events if isinstance(event, ToolCallStarted)] == ["book"]
    assert "".join(event.arguments for event in events if isinstance(event, ToolCallDelta)) == '{"room": "twelve"}'
    assert isinstance(events[-1], Finished)


async def test_a_lone_model_that_breaks_off_is_asked_for_the_rest(first: OpenAiStandin) -> None:
    name = f"openai:a@{first.url}"
    models = LlmProcessor.from_settings(Settings(llm=name), no_models)
    answers: list[Answer] = [CutOff(f"{BEGUN} ni"), REST]
    first.answer, first.strict = (lambda _: answers.pop(0)), True
    events = await everything(models)
    await models.close()
    assert text_of(events).split() == WHOLE.split()
    assert events.count(TakenOver()) == 1
    assert first.requests[1]["messages"][-2]["content"] == BEGUN
    labels = {"from": name, "to": name, "reason": "interrupted"}
    assert REGISTRY.get_sample_value("voice_llm_failovers_total", labels) == 1
    assert models.state == "ok"


async def test_a_function_call_of_a_lone_model_that_was_cut_off_is_made_once(first: OpenAiStandin) -> None:
    models = LlmProcessor.from_settings(Settings(llm=f"openai:a@{first.url}"), no_models)
    cut = [
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "x", "function": {"name": "book"}}]}}]},
        {"error": {"code": "server_error"}},
    ]
    answers: list[Answer] = [Raw(tuple(map(json.dumps, cut))), ToolCallAnswer("book", {"room": "twelve"})]
    first.answer = lambda _: answers.pop(0)
    events = await everything(models, ChatRequest("", [UserText("Book.")], tools=[BOOK]))
    await models.close()
    assert [event.name for event in events if isinstance(event, ToolCallStarted)] == ["book"]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_a_server_that_asks_for_time_gets_it_and_the_next_answers_meanwhile(
    models: LlmProcessor, first: OpenAiStandin, second: OpenAiStandin, status: int, form: str
) -> None:
    wanted = "30" if form == "seconds" else format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    first.answer = lambda _: Refusal(status, retry_after=wanted)
    for _ in range(3):
        assert text_of(await everything(models)) == WHOLE
    assert (len(first.requests), len(second.requests)) == (1, 3)
    assert failovers(first, second, "open") == 2


async def test_when_all_fail_the_last_failure_is_told(
    models: LlmProcessor, first: OpenAiStandin, second: OpenAiStandin
) -> None:
    first.answer, second.answer = (lambda _: Refusal(429)), (lambda _: Refusal(503))
    with pytest.raises(LlmError) as caught:
        await everything(models)
    assert caught.value.failure == "throttled"
    assert (len(first.requests), len(second.requests)) == (2, 1), "the first is asked once more"
    assert models.state == "failing"


async def test_a_model_that_fails_again_and_again_is_left_alone(
    models: LlmProcessor, first: OpenAiStandin, second: OpenAiStandin
) -> None:
    first.answer = lambda _: Refusal(503)
    for _ in range(4):
        assert text_of(await everything(models)) == WHOLE
    assert (len(first.requests), len(second.requests)) == (3, 4)
    assert failovers(first, second, "open") == 1
    name = f"openai:a@{first.url}"
    assert REGISTRY.get_sample_value("voice_llm_breaker_state", {"model": name}) == 2
    assert models.describe() == f"{name} (open), openai:b@{second.url}: ok"


async def test_on_a_guess_only_one_is_asked_and_the_next_once_the_answer_is_wanted(
    models: LlmProcessor, first: OpenAiStandin, second: OpenAiStandin
) -> None:
    first.answer = lambda _: Refusal(503)
    wanted = asyncio.Event()
    answering = asyncio.create_task(_collect(models, wanted))
    await first.until(lambda it: len(it.requests) == 1)
    await asyncio.wait([answering], timeout=0.2)
    assert not second.requests
    wanted.set()
    assert text_of(await answering) == WHOLE


async def _collect(models: LlmProcessor, wanted: asyncio.Event) -> list[LlmEvent]:
    return [event async for event in models.stream(HELLO, wanted)]


async def test_closing_the_answer_hangs_up_on_all(
    models: LlmProcessor, first: OpenAiStandin, second: OpenAiStandin
) -> None:
    first.answer, second.answer = (lambda _: Stall()), (lambda _: Stall())
    asking = asyncio.create_task(everything(models))
    await second.until(lambda it: len(it.requests) == 1)
    asking.cancel()
    await first.until(lambda it: it.cancelled == 1)
    await second.until(lambda it: it.cancelled == 1)


async def test_each_server_is_shown_its_own_key(first: OpenAiStandin, second: OpenAiStandin) -> None:
    settings = Settings.model_validate(
        {"llm": f"openai:a@{first.url},openai:b@{second.url}", "llm_api_key": "sk-one,sk-two"}
    )
    models = LlmProcessor.from_settings(settings, no_models)
    first.answer = lambda _: Refusal(500)
    await everything(models)
    models.take_keys(settings.model_copy(update={"llm_api_key": None}))
    await everything(models)
    await models.close()
    shown = [standin.headers[index].get("Authorization") for standin in (first, second) for index in (0, 1)]
    assert shown == ["Bearer sk-one", None, "Bearer sk-two", None]


async def test_a_node_starts_with_one_model_that_is_well(
    models: LlmProcessor, first: OpenAiStandin, second: OpenAiStandin
) -> None:
    first.models_status = 401
    await models.warm_up()
    second.models_status = 401
    with pytest.raises(LlmError):
        await models.warm_up()
    assert models.state == "failing"


async def test_bedrock_in_a_second_region_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    settings = Settings(llm="bedrock:us.amazon.nova-lite-v1:0,bedrock:us.amazon.nova-lite-v1:0@us-west-2")
    async with BedrockStandin() as standin:
        answers: list[ServiceError | str] = [ServiceError(429, "ThrottlingException"), "Hello."]
        standin.answer = lambda _: answers.pop(0)
        monkeypatch.setenv("AWS_ENDPOINT_URL", standin.url)
        models = LlmProcessor.from_settings(settings, no_models)
        assert text_of(await everything(models)) == "Hello."
        await models.close()
    assert standin.regions == ["us-east-1", "us-west-2"]


# --- on a call


@pytest.fixture(scope="module")
def spare() -> Iterator[OpenAiStandin]:
    """The second model behind the node, on an event loop of its own."""
    with in_thread(OpenAiStandin()) as standin:
        yield standin


@pytest.fixture(scope="module")
def node(quick: dict[str, str], main: OpenAiStandin, spare: OpenAiStandin) -> Iterator[NodeProcess]:
    names = f"openai:a@{main.url},openai:b@{spare.url}"
    with running_node(**quick | {"VOICE_LLM": names, "VOICE_LLM_TIMEOUT_SECONDS": "2"}) as running:
        yield running


@pytest.fixture(scope="module")
def main() -> Iterator[OpenAiStandin]:
    with in_thread(OpenAiStandin()) as standin:
        yield standin


@pytest.fixture
async def call(node: NodeProcess, main: OpenAiStandin, spare: OpenAiStandin) -> AsyncIterator[LiveCall]:
    for standin in (main, spare):
        standin.requests.clear()
        standin.answer, standin.first_token_seconds = (lambda _: "Is that all?"), 0.0
    async with live_call(node.websocket) as live:
        yield live


async def history(call: LiveCall, *standins: OpenAiStandin) -> list[str]:
    """What a model is shown of the call, once everything was heard."""
    for standin in standins:
        standin.answer = lambda _: "Goodbye."
        standin.requests.clear()
    await call.turn("thanks", output_modalities=["text"])
    [request] = [request for standin in standins for request in standin.requests]
    return [message["content"] for message in request["messages"] if message["role"] != "system"]


@pytest.mark.parametrize(
    "failure",
    [Refusal(429), Refusal(500), Stall(), CutOff(f"{BEGUN} "), CutOff(f"{BEGUN} ni"), Stall(BEGUN)],
    ids=["429", "500", "hang", "cut between words", "cut in a word", "hang in the middle"],
)
async def test_the_caller_hears_one_whole_answer_and_history_holds_just_that(
    call: LiveCall, main: OpenAiStandin, spare: OpenAiStandin, failure: Answer
) -> None:
    main.answer, spare.answer = (lambda _: failure), goes_on
    response = await call.turn("when are you open")
    assert response["status"] == "completed"
    assert answer_text(response) == WHOLE
    assert await history(call, main, spare) == ["when are you open", WHOLE, "thanks"]


async def test_when_all_fail_the_caller_hears_a_line_and_the_call_goes_on(
    call: LiveCall, node: NodeProcess, main: OpenAiStandin, spare: OpenAiStandin
) -> None:
    said = node.metric("voice_spoken_lines_total", kind="failed")
    main.answer = spare.answer = lambda _: Refusal(500)
    response = await call.turn("when are you open")
    assert (response["status"], response["status_details"]["error"]["code"]) == ("failed", "unavailable")
    assert answer_text(response) == LINES["failed"]
    assert "response.output_audio.delta" in {event["type"] for event in call.events}
    assert node.metric("voice_spoken_lines_total", kind="failed") == said + 1
    assert await history(call, main, spare) == ["when are you open", LINES["failed"], "thanks"]


async def test_when_all_fail_after_the_first_word_the_line_follows_what_was_heard(
    call: LiveCall, main: OpenAiStandin, spare: OpenAiStandin
) -> None:
    answers: list[Answer] = [CutOff("One thing. And then "), Refusal(429)]
    main.answer, spare.answer = (lambda _: answers.pop(0)), (lambda _: Refusal(429))
    response = await call.turn("when are you open")
    assert response["status"] == "failed"
    texts = [item["content"][0]["transcript"] for item in response["output"]]
    assert texts == ["One thing. And then", LINES["busy"]]


async def _all_but_the_first(attempt: int, _: object) -> AsyncIterator[bytes]:
    if attempt == 0:
        await asyncio.Event().wait()
    yield bytes(48_000)


async def test_a_line_that_is_not_recorded_yet_is_said_by_the_voice(
    quick: dict[str, str], main: OpenAiStandin, spare: OpenAiStandin
) -> None:
    voice = ScriptedVoice(_all_but_the_first)
    main.answer = lambda _: Refusal(500)
    with (
        in_thread(served(voice)) as address,
        running_node(**quick | {"VOICE_LLM": f"openai:a@{main.url}", "VOICE_TTS_ADDRESS": address}) as node,
    ):
        await node.until(lambda: voice.requests)  # the first recording, which has no end
        async with live_call(node.websocket) as call:
            response = await call.turn("when are you open")
            assert answer_text(response) == LINES["failed"]
            assert "response.output_audio.delta" in {event["type"] for event in call.events}


async def test_the_log_says_who_stood_in_for_whom(node: NodeProcess) -> None:
    pairs = {(line["origin"], line["target"]) for line in node.events("llm_failover")}
    assert pairs
    assert all(one != other for one, other in pairs)
