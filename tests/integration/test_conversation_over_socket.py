"""Conversations through our own caller: real speech over the WebSocket of a real node; only the model is a stand-in."""

import asyncio
import time
from typing import Any

import numpy as np
import pytest

from server.client.caller import Caller, Speech, Turn, call
from server.client.transcripts import words
from tests.support.node import NodeProcess
from tests.support.openai_llm_standin import OpenAiStandin, Request, by_rules
from tests.support.phone import Ear, speech

TALE = (
    "Once upon a time there was a farmer who had three sons. The eldest went to sea. The second one became a baker. "
    "The youngest stayed at home and looked after the sheep on the green hills behind the house."
)


def noise() -> Speech:
    """White noise as loud as a voice."""
    return Speech(np.random.default_rng(1).normal(0, 3000, 36_000).astype("<i2"))


def hum() -> Speech:
    """A machine that hums up and down: enough of a voice for a detector that is set to take anything for one."""
    time = np.arange(36_000) / 24_000
    tone = sum(np.sin(2 * np.pi * 120 * k * time + k) / k for k in range(1, 20))
    return Speech((2000 * tone * (1 + np.sin(2 * np.pi * 3 * time))).astype("<i2"))


def said(request: Request) -> list[tuple[str, str]]:
    """The conversation that a request to the model holds, without the instructions."""
    return [(message["role"], message["content"]) for message in request["messages"] if message["role"] != "system"]


def listening(**turn_detection: Any) -> dict[str, Any]:
    """Session settings with these of server_vad."""
    return {"audio": {"input": {"transcription": {}, "turn_detection": {"type": "server_vad", **turn_detection}}}}


async def test_each_turn_is_answered_knowing_those_before(node: NodeProcess, answers: OpenAiStandin) -> None:
    answers.answer = by_rules({"name": "Nice to meet you.", "green": "What a fine color."})
    async with call(node.websocket) as caller:
        turns = [await caller.say(await speech(text)) for text in ("My name is Peter.", "I like green tea.")]
        turns.append(await caller.say(await speech("What is the weather in Paris?")))
    assert [turn.status for turn in turns] == ["completed"] * 3
    assert [turn.answers for turn in turns] == [1, 1, 1]
    assert [(role, " ".join(words(text))) for role, text in said(answers.requests[-1])] == [
        ("user", "my name is peter"),
        ("assistant", "nice to meet you"),
        ("user", "i like green tea"),
        ("assistant", "what a fine color"),
        ("user", "what is the weather in paris"),
    ]


async def interrupted(caller: Caller, ear: Ear) -> tuple[float, Turn]:
    """Ask for the tale, listen to three seconds of it, and speak into it; gives for how long it was heard in the end,
    and the turn after.
    """
    story, name = await speech("Tell me a story."), await speech("My name is Peter.")
    await caller.begin(story)
    await ear.until("response.output_audio.delta")
    began = time.monotonic()
    await asyncio.sleep(3.0)
    after = asyncio.create_task(caller.say(name))
    await ear.until("input_audio_buffer.speech_started", 2)
    return time.monotonic() - began, await after


async def test_an_interrupted_answer_is_remembered_as_far_as_it_was_played(
    node: NodeProcess, answers: OpenAiStandin
) -> None:
    """The client says nothing of what it played: the node knows it from what it sent and when."""
    answers.answer = by_rules({"story": TALE, "name": "Nice to meet you."})
    ear = Ear()
    async with call(node.websocket, on_event=ear.hear) as caller:
        seconds, turn = await interrupted(caller, ear)
    assert turn.answered == "Nice to meet you."
    first, second = (event["response"] for event in ear.all("response.done"))
    assert first["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert second["status"] == "completed"

    (_, tale), (role, told), _ = said(answers.requests[-1])
    assert words(tale) == words("Tell me a story.")
    assert role == "assistant"
    assert TALE.startswith(told)
    assert told[-1].isalpha() or told[-1] == ".", "it is cut at a word's end"
    assert abs(len(told) - 15 * seconds) < 25, "about fifteen characters a second"


@pytest.mark.parametrize(
    ("sound", "threshold", "heard"), [(noise(), 0.5, []), (hum(), 0.05, [""])], ids=["undetected", "without-words"]
)
async def test_noise_gets_no_answer(
    node: NodeProcess, answers: OpenAiStandin, sound: Speech, threshold: float, heard: list[str]
) -> None:
    ear = Ear()
    transcribed = "conversation.item.input_audio_transcription.completed"
    async with call(node.websocket, session=listening(threshold=threshold), on_event=ear.hear) as caller:
        await caller.begin(sound)
        await asyncio.sleep(3.0)  # an answer to 1.5 s of speech would have begun by now
        if heard:
            await ear.until(transcribed)
        assert [event["transcript"] for event in ear.all(transcribed)] == heard
        turn = await caller.say(await speech("My name is Peter."))
    assert words(turn.answered) == words("You said: My name is Peter.")
    assert len(said(answers.requests[-1])) == 1
    assert len(answers.requests) == 1
    assert len(ear.all("response.created")) == 1


async def test_a_caller_who_falls_silent_is_asked_whether_they_are_there(
    node: NodeProcess, answers: OpenAiStandin
) -> None:
    answers.answer = by_rules({"name": "Nice to meet you."}, otherwise=lambda _: "Are you still there?")
    ear = Ear()
    async with call(node.websocket, session=listening(idle_timeout_ms=1500), on_event=ear.hear) as caller:
        await caller.say(await speech("My name is Peter."))
        silence = await ear.until("input_audio_buffer.timeout_triggered")
        asked = (await ear.until("response.done", 2))["response"]
    assert silence["audio_end_ms"] - silence["audio_start_ms"] == 1500
    assert asked["output"][0]["content"][0]["transcript"] == "Are you still there?"
    assert "silent" in answers.requests[-1]["messages"][-1]["content"]


async def test_what_the_model_says_before_the_turn_is_surely_over_is_the_answer(
    node: NodeProcess, answers: OpenAiStandin
) -> None:
    def counted() -> list[float]:
        outcomes = ("used", "resumed", "changed", "failed", "ended")
        return [node.metric("voice_speculations_total", outcome=outcome) for outcome in outcomes]

    answers.answer = lambda _: "What a fine color."
    asked, before = len(answers.requests), counted()
    turns: list[Turn] = []
    async with call(node.websocket, turn_detection={"type": "semantic_vad", "eagerness": "low"}) as caller:
        # On a busy machine a turn may be over before its words are known.
        while counted()[0] == before[0] and len(turns) < 6:
            turns.append(await caller.say(await speech("What is the color of grass?")))
    used, *wasted = (after - earlier for earlier, after in zip(before, counted(), strict=True))
    assert {(turn.status, *words(turn.answered)) for turn in turns} == {("completed", "what", "a", "fine", "color")}
    assert used == 1
    assert len(answers.requests) - asked == len(turns) + sum(wasted)
