"""PyPI `openai` against a real node: what the caller hears while a function runs, and what runs beside the answers."""

import itertools
from typing import Any

from server.client.transcripts import words
from tests.support.node import NodeProcess
from tests.support.openai_caller import OpenAiCaller, phoning
from tests.support.openai_llm_standin import OpenAiStandin, ToolCallAnswer, by_rules
from tests.support.speech import speak

WEATHER = "What is the weather in Paris?"
WEATHER_TOOL = {"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {}}}
STORY = (
    "Once upon a time there was a farmer who had three sons. The eldest went to sea. The second one became a baker. "
    "The youngest stayed at home and looked after the sheep on the green hills behind the house."
)


def spoken(response: dict[str, Any]) -> str:
    return str(response["output"][0]["content"][0]["transcript"])


async def ask_beside(caller: OpenAiCaller, text: str, modality: str) -> None:
    response: Any = {
        "conversation": "none",
        "output_modalities": [modality],
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}],
        "metadata": {"about": text},
    }
    await caller.connection.response.create(response=response)


async def test_who_waits_for_a_function_hears_a_filler_and_then_the_answer(
    node: NodeProcess, answers: OpenAiStandin
) -> None:
    answers.answer = by_rules({"weather": ToolCallAnswer("get_weather", {})})
    filler = {"text": "One moment, please.", "after_ms": 300}
    async with phoning(node, tools=[WEATHER_TOOL], x_tool_filler=filler) as caller:
        await caller.say(await speak(WEATHER))
        [call] = (await caller.answer())["output"]
        said = await caller.answer()
        assert (said["status"], spoken(said)) == ("completed", "One moment, please.")

        await caller.connection.conversation.item.create(
            item={"type": "function_call_output", "call_id": call["call_id"], "output": "18 degrees"}
        )
        await caller.connection.response.create()
        assert spoken(await caller.answer()) == "The answer is: 18 degrees"
        assert len(answers.requests) == 2
        assert words(await caller.words_in(caller.audio(said))) == ["one", "moment", "please"]


async def test_classifiers_run_beside_an_answer_that_is_being_spoken(node: NodeProcess, answers: OpenAiStandin) -> None:
    answers.answer = by_rules({"story": STORY, "first": "harmless", "second": "friendly"})
    async with phoning(node) as caller:
        await caller.say(await speak("Tell me a story."))
        story = (await caller.next("response.output_audio.delta"))["response_id"]
        for about in ("first", "second"):
            await ask_beside(caller, about, "text")
        results = {(done := await caller.answer())["metadata"]["about"]: done for _ in range(2)}
        assert {about: done["output"][0]["content"][0]["text"] for about, done in results.items()} == {
            "first": "harmless",
            "second": "friendly",
        }
        assert all(done["usage"]["output_tokens"] for done in results.values())
        assert caller.strict.active == story
        await caller.connection.response.cancel()
        assert (await caller.answer())["id"] == story


async def test_what_is_spoken_beside_an_answer_is_heard_after_it(node: NodeProcess, answers: OpenAiStandin) -> None:
    answers.answer = by_rules({"weather": "It is sunny in Paris.", "announce": "This call is recorded."})
    async with phoning(node) as caller:
        await caller.say(await speak(WEATHER))
        await caller.next("response.output_audio.delta")
        await ask_beside(caller, "announce", "audio")
        done = [await caller.answer() for _ in range(2)]
        assert [spoken(response) for response in done] == ["It is sunny in Paris.", "This call is recorded."]
        frames = [
            event["response_id"] for event in caller.strict.received if event["type"] == "response.output_audio.delta"
        ]
        assert [response_id for response_id, _ in itertools.groupby(frames)] == [response["id"] for response in done]
