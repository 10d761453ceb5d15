"""The voice begins before a turn is surely over, over a real socket: its audio is there when the turn ends.

The caller's audio is the clock of turn-taking: a turn of which no more audio comes does not end for seconds.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import get_args

import grpc
import pytest

from server.held_answer import Outcome
from server.spoken_lines import LineKind
from tests.support.in_thread import in_thread
from tests.support.live_call import LiveCall, answer_text, live_call
from tests.support.node import NodeProcess, quick_speech, running_node
from tests.support.openai_llm_standin import OpenAiStandin, Request, Stall
from tests.support.scripted_voice import Script, ScriptedVoice, served
from tests.support.speech import resample, speak

ANSWER = "We are open from nine to five."
GUARD = "Say whether that is polite."
PAUSE_SECONDS = 0.3  # in which a turn is likely over, and which ends none
TURN_END_SECONDS = 3.0
NO_LINES = json.dumps({"*": dict.fromkeys(get_args(LineKind), "")})  # the voice would be asked for them at the start


async def speaks(attempt: int, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
    yield bytes(48_000)


async def never_ends(attempt: int, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
    yield bytes(48_000)
    await asyncio.Event().wait()


@contextmanager
def node_with(script: Script, llm: OpenAiStandin) -> Iterator[tuple[NodeProcess, ScriptedVoice]]:
    """A node that understands the same in everything, and speaks as the script says."""
    voice = ScriptedVoice(script)
    with quick_speech() as speech, in_thread(served(voice)) as address:
        variables = speech | {"VOICE_TTS_ADDRESS": address, "VOICE_SPECULATION": "full", "VOICE_SPOKEN_LINES": NO_LINES}
        with running_node(VOICE_LLM=f"openai:standin@{llm.url}", **variables) as node:
            yield node, voice


async def asked(call: LiveCall) -> bytes:
    """The caller asks something, and pauses; gives the question."""
    await call.update(audio={"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "low"}}})
    question = resample(await speak("What are your opening hours?"), 16_000, 24_000)
    await call.say(question, PAUSE_SECONDS)
    return question


def is_guard(request: Request) -> bool:
    """Whether it is that of an answer beside the conversation."""
    return bool(request["messages"][0]["content"] == GUARD)


async def told(call: LiveCall) -> list[str]:
    """The types of all events that the client has been sent."""
    await call.update()
    return [event["type"] for event in call.events]


def shown(types: list[str]) -> list[str]:
    """Those that tell of turns and answers, and not of the session or of words that are not sure yet."""
    return [type for type in types if not type.startswith("session.") and not type.endswith("transcription.delta")]


@pytest.fixture
def opening_hours(answers: OpenAiStandin) -> OpenAiStandin:
    answers.answer = lambda _: ANSWER
    return answers


async def test_the_answer_is_spoken_before_the_turn_is_over_and_leaves_when_it_is(opening_hours: OpenAiStandin) -> None:
    with node_with(speaks, opening_hours) as (node, voice):
        async with live_call(node.websocket) as call:
            await asked(call)
            await node.until(voice.left.is_set)
            assert shown(await told(call)) == ["input_audio_buffer.speech_started"]
            await call.say(b"", TURN_END_SECONDS)
            done = (await call.until("response.done"))["response"]
            assert (done["status"], answer_text(done)) == ("completed", ANSWER)
            assert "response.output_audio.delta" in [event["type"] for event in call.events]
        assert {request.text for request in voice.requests} == {ANSWER}
        outcomes = [node.metric("voice_speculations_total", outcome=outcome) for outcome in get_args(Outcome)]
        assert len(voice.requests) <= sum(outcomes), "what was spoken before the end is what was heard"
        assert node.metric("voice_speculations_total", outcome="used") == 1


async def test_the_next_sentence_is_asked_for_while_one_is_heard_with_when_it_is_needed(answers: OpenAiStandin) -> None:
    answers.answer = lambda _: "We are open from nine to five. On Sundays we are closed."
    with node_with(speaks, answers) as (node, voice):
        async with live_call(node.websocket) as call:
            await asked(call)
            await call.say(b"", TURN_END_SECONDS)
            assert (await call.until("response.done"))["response"]["status"] == "completed"
        first, second = (request for request in voice.requests[-2:])
        assert (first.needed_in_seconds, second.text) == (0.0, "On Sundays we are closed.")
        assert 0.0 < second.needed_in_seconds <= 1.0  # of the second that the first takes
        assert node.metric("voice_clause_lateness_seconds_count") >= 2


async def test_a_caller_who_goes_on_silences_it_before_anybody_sees_anything(opening_hours: OpenAiStandin) -> None:
    with node_with(never_ends, opening_hours) as (node, voice):
        async with live_call(node.websocket) as call:
            question = await asked(call)
            await node.until(lambda: voice.requests)
            await call.say(question, PAUSE_SECONDS)
            await node.until(voice.left.is_set)
            assert shown(await told(call)) == ["input_audio_buffer.speech_started"]
            await call.say(b"", TURN_END_SECONDS)
            await call.until("response.output_audio.delta")
            items = [event for event in call.events if event["type"] == "conversation.item.added"]
            assert [event["item"]["role"] for event in items] == ["user", "assistant"]
        assert node.metric("voice_speculations_total", outcome="resumed") >= 1
        assert node.metric("voice_speculation_wasted_tokens_total", kind="input") > 0


async def test_an_answer_beside_the_conversation_that_is_stopped_leaves_it_alone(opening_hours: OpenAiStandin) -> None:
    opening_hours.answer = lambda request: Stall() if is_guard(request) else ANSWER
    with node_with(speaks, opening_hours) as (node, voice):
        async with live_call(node.websocket) as call:
            guard = {"conversation": "none", "output_modalities": ["text"], "instructions": GUARD}
            await call.send("response.create", response=guard)
            await opening_hours.until(lambda standin: any(map(is_guard, standin.requests)))
            beside = (await call.until("response.created"))["response"]["id"]
            await asked(call)
            await node.until(voice.left.is_set)
            await call.send("response.cancel", response_id=beside)
            await call.say(b"", TURN_END_SECONDS)
            done = [(await call.until("response.done"))["response"] for _ in range(2)]
        assert [answer_text(response) for response in done] == ["", ANSWER]
        outcomes = {outcome: node.metric("voice_speculations_total", outcome=outcome) for outcome in get_args(Outcome)}
        assert (outcomes["used"], outcomes["ended"]) == (1, 0)
