"""PyPI `openai` against a real node: real speech in, real voice back; only the language model is a stand-in."""

import asyncio
from typing import Any

import numpy as np
import pytest

from server.audio import Samples
from server.client.playout import is_audible
from server.client.transcripts import words
from tests.support.node import NodeProcess
from tests.support.openai_caller import Wire, phoning
from tests.support.openai_llm_standin import OpenAiStandin, Request, ToolCallAnswer, by_rules
from tests.support.speech import speak

WEATHER = "What is the weather in Paris?"
WEATHER_TOOL = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
WIRES = [Wire(rate=rate) for rate in (8_000, 16_000, 24_000, 48_000)] + [
    Wire("audio/pcmu", 8_000),
    Wire("audio/pcma", 8_000),
]
STORY = (
    "Once upon a time there was a farmer who had three sons. The eldest went to sea. The second one became a baker. "
    "The youngest stayed at home and looked after the sheep on the green hills behind the house."
)


def said(request: Request) -> list[tuple[str, str]]:
    """The conversation that a request to the model holds, without the instructions."""
    return [(message["role"], message["content"]) for message in request["messages"] if message["role"] != "system"]


def samples(pcm: bytes) -> Samples:
    return np.frombuffer(pcm, "<i2")


def spoken(response: dict[str, Any]) -> str:
    return str(response["output"][0]["content"][0]["transcript"])


@pytest.mark.parametrize("wire", WIRES, ids=str)
async def test_a_spoken_question_gets_a_spoken_answer(node: NodeProcess, answers: OpenAiStandin, wire: Wire) -> None:
    answers.answer = by_rules({"weather": "It is sunny and warm in Paris today."})
    async with phoning(node, wire) as caller:
        await caller.say(await speak(WEATHER))
        assert words(await caller.heard()) == words(WEATHER)

        response = await caller.answer()
        assert response["status"] == "completed"
        assert spoken(response) == "It is sunny and warm in Paris today."
        answer = caller.audio(response)
        assert is_audible(samples(answer))
        assert 1.5 < len(answer) / 32_000 < 4.0
        assert words(await caller.words_in(answer)) == words("It is sunny and warm in Paris today.")


async def test_a_function_is_called_and_its_result_is_spoken(node: NodeProcess, answers: OpenAiStandin) -> None:
    answers.answer = by_rules({"weather": ToolCallAnswer("get_weather", {"city": "Paris"}, text="One moment.")})
    async with phoning(node, tools=[WEATHER_TOOL]) as caller:
        await caller.say(await speak(WEATHER))
        aside, call = (await caller.answer())["output"]
        assert aside["content"][0]["transcript"] == "One moment."
        assert (call["type"], call["name"], call["arguments"]) == ("function_call", "get_weather", '{"city": "Paris"}')

        await caller.connection.conversation.item.create(
            item={"type": "function_call_output", "call_id": call["call_id"], "output": "18 degrees"}
        )
        await caller.connection.response.create()
        response = await caller.answer()
        assert spoken(response) == "The answer is: 18 degrees"
        assert is_audible(samples(caller.audio(response)))
    roles = [message["role"] for message in answers.requests[-1]["messages"]]
    assert roles[-3:] == ["user", "assistant", "tool"]


async def test_an_answer_can_be_text(node: NodeProcess, answers: OpenAiStandin) -> None:
    async with phoning(node, output_modalities=["text"]) as caller:
        await caller.say(await speak(WEATHER))
        response = await caller.answer()
        text = response["output"][0]["content"][0]["text"]
        assert words(text) == ["you", "said", *words(WEATHER)]
    assert not [event for event in caller.parsed if event.type == "response.output_audio.delta"]


async def test_who_speaks_into_an_answer_stops_it_and_history_holds_what_was_played(
    node: NodeProcess, answers: OpenAiStandin
) -> None:
    answers.answer = by_rules({"story": STORY})
    async with phoning(node) as caller:
        await caller.say(await speak("Tell me a story."))
        item_id = (await caller.next("response.output_audio.delta"))["item_id"]
        await caller.next("response.output_audio_transcript.delta", item_id=item_id)  # it is at its second clause
        interruption = asyncio.create_task(caller.say(await speak(WEATHER)))
        await caller.next("input_audio_buffer.speech_started")
        played_ms = caller.played_ms(item_id)
        await caller.connection.conversation.item.truncate(item_id=item_id, content_index=0, audio_end_ms=played_ms)
        response = await caller.answer()
        assert response["status"] == "cancelled"
        assert response["status_details"]["reason"] == "turn_detected"
        assert (await caller.next("conversation.item.truncated"))["audio_end_ms"] == played_ms

        await interruption
        assert words(await caller.heard()) == words(WEATHER)
        assert (await caller.answer())["status"] == "completed"
        await caller.connection.conversation.item.retrieve(item_id=item_id)
        kept = (await caller.next("conversation.item.retrieved"))["item"]["content"][0]["transcript"]
    assert STORY.startswith(kept)
    assert abs(len(kept) - played_ms / 1000 * 15) < 25, "about fifteen characters a second"
    assert [role for role, _ in said(answers.requests[-1])] == ["user", "assistant", "user"]
    assert said(answers.requests[-1])[1] == ("assistant", kept)


async def test_without_turn_detection_the_client_ends_the_turn_and_asks(
    node: NodeProcess, answers: OpenAiStandin
) -> None:
    async with phoning(node, turn_detection=None) as caller:
        await caller.append(await speak(WEATHER))
        await caller.connection.input_audio_buffer.commit()
        assert words(await caller.heard()) == words(WEATHER)
        assert answers.requests == []

        await caller.connection.response.create()
        assert words(spoken(await caller.answer())) == ["you", "said", *words(WEATHER)]


async def test_a_call_of_several_turns_keeps_its_context(node: NodeProcess, answers: OpenAiStandin) -> None:
    answers.answer = by_rules({"name": "Nice to meet you.", "green": "What a fine color.", "morning": "Good morning."})
    async with phoning(node) as caller:
        for sentence in ("My name is Peter.", "I like green tea.", "Good morning."):
            await caller.say(await speak(sentence))
            assert words(await caller.heard()) == words(sentence)
            assert (await caller.answer())["status"] == "completed"
            await caller.play_out()
    texts = [" ".join(words(text)) for _, text in said(answers.requests[-1])]
    assert texts == [
        "my name is peter",
        "nice to meet you",
        "i like green tea",
        "what a fine color",
        "good morning",
    ]


async def test_calls_at_the_same_time_get_their_own_answers(node: NodeProcess, answers: OpenAiStandin) -> None:
    async def ask(question: str, wire: Wire) -> str:
        async with phoning(node, wire) as caller:
            await caller.say(await speak(question))
            response = await caller.answer()
            assert response["status"] == "completed"
            assert is_audible(samples(caller.audio(response)))
            return spoken(response)

    questions = ["My name is Peter.", "I like green tea.", WEATHER]
    wires = [Wire(), Wire("audio/pcmu", 8_000), Wire(rate=16_000)]
    said_back = await asyncio.gather(*map(ask, questions, wires))
    assert [words(text) for text in said_back] == [["you", "said", *words(question)] for question in questions]


async def test_a_typed_question_is_answered_aloud(node: NodeProcess, answers: OpenAiStandin) -> None:
    async with phoning(node) as caller:
        await caller.type("ping")
        await caller.connection.response.create()
        assert spoken(await caller.answer()) == "You said: ping"


async def test_an_applications_words_are_said_as_they_stand_in_the_format_that_it_asks_for(
    node: NodeProcess, answers: OpenAiStandin
) -> None:
    notice = "This call may be recorded for training purposes."
    wire = Wire("audio/pcmu", 8_000)
    async with phoning(node, turn_detection=None) as caller:
        own: Any = {"x_say": notice, "audio": {"output": {"format": wire.session}}}
        await caller.connection.response.create(response=own)
        response = await caller.answer()
        assert response["audio"]["output"]["format"] == wire.session
        assert spoken(response) == notice
        audio = wire.decode(b"".join(caller.strict.audio(item["id"]) for item in response["output"]))
        assert words(await caller.words_in(audio)) == words(notice)
    assert answers.requests == []


async def test_the_model_is_shown_an_image(node: NodeProcess, answers: OpenAiStandin) -> None:
    url = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="
    content: Any = [{"type": "input_text", "text": "What is this?"}, {"type": "input_image", "image_url": url}]
    async with phoning(node, turn_detection=None, output_modalities=["text"]) as caller:
        await caller.connection.conversation.item.create(item={"type": "message", "role": "user", "content": content})
        await caller.connection.response.create()
        assert (await caller.answer())["status"] == "completed"
    assert answers.requests[-1]["messages"][-1]["content"] == [
        {"type": "image_url", "image_url": {"url": url, "detail": "auto"}},
        {"type": "text", "text": "What is this?"},
    ]
