"""What is said, typed, answered or shown as a credential on a call stands in no log line and no metric.

The node runs at the most talkative log level; everything that a caller can bring in is a canary, also on the ways on
which things go wrong.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.client.transcripts import words
from tests.support.live_call import exchange, handshake, live_call, refusal
from tests.support.node import NodeProcess, running_node
from tests.support.openai_llm_standin import Answer, CutOff, OpenAiStandin, Raw, Refusal, Stall, ToolCallAnswer
from tests.support.speech import resample, speak

TYPED = "4111 1111 1111 1111"
ANSWERED = "5500 0000 0000 0004"
INSTRUCTED = "6011 0000 0000 0004"
KEY = "vf_public.3400KEY0000KEY0009"
WRONG_KEY = "vf_public.3530WRONG0000"
TOKEN_SECRET = "a-secret-of-more-than-thirty-two-bytes"
ARGUMENT = "3056 9309 0259 04"
GARBAGE = "6304 0000 0000 0000"
SECRETS = [KEY.partition(".")[2], WRONG_KEY.partition(".")[2], TOKEN_SECRET]
CANARIES = [TYPED, ANSWERED, INSTRUCTED, ARGUMENT, GARBAGE, *SECRETS]
SPOKEN = "My secret word is elephant, and my city is Amsterdam."
SPOKEN_CANARIES = ["elephant", "amsterdam"]


@pytest.fixture(scope="module")
def talkative(llm: OpenAiStandin) -> Iterator[NodeProcess]:
    with running_node(
        VOICE_LLM=f"openai:standin@{llm.url}",
        VOICE_LOG_LEVEL="debug",
        VOICE_API_KEYS=KEY,
        VOICE_TOKEN_SECRET=TOKEN_SECRET,
        VOICE_LLM_TIMEOUT_SECONDS="1",
    ) as running:
        yield running


async def test_nothing_that_is_said_or_shown_is_written_anywhere(
    talkative: NodeProcess, answers: OpenAiStandin
) -> None:
    key = {"Authorization": f"Bearer {KEY}"}
    tool = {"type": "function", "name": "pay", "description": INSTRUCTED, "parameters": {"type": "object"}}
    async with live_call(f"{talkative.websocket}?model={GARBAGE.replace(' ', '')}", additional_headers=key) as call:
        await call.update(
            instructions=INSTRUCTED,
            tools=[tool],
            audio={"input": {"transcription": {"prompt": INSTRUCTED}}, "output": {"voice": GARBAGE}},
        )
        answers.answer = lambda _: f"Your number is {ANSWERED}."
        assert ANSWERED in await call.ask(TYPED)
        assert (await call.turn(TYPED))["status"] == "completed"  # aloud
        await call.say(resample(await speak(SPOKEN), 16_000, 24_000))
        heard = await call.until("conversation.item.input_audio_transcription.completed")
        assert set(SPOKEN_CANARIES) <= set(words(heard["transcript"]))
        await call.until("response.done")
        answers.answer = lambda _: ToolCallAnswer("pay", {"card": ARGUMENT})
        await call.ask(TYPED)
        failing: list[Answer] = [Refusal(500), Refusal(400), CutOff(ANSWERED), Raw((ANSWERED,)), Stall(ANSWERED)]
        answers.answer = lambda _: failing[-1]
        while failing:
            await call.ask(TYPED)
            failing.pop()
        for wrong in (
            GARBAGE,
            json.dumps({"type": GARBAGE, "event_id": GARBAGE}),
            json.dumps({"type": "session.update", "session": {"instructions": [GARBAGE]}}),
            json.dumps({"type": "conversation.item.retrieve", "item_id": GARBAGE}),
            json.dumps({"type": "input_audio_buffer.append", "audio": GARBAGE}),
        ):
            await call.connection.send(wrong)
            await call.error()
        await call.connection.send(GARBAGE.encode())
        await call.error()
    await refusal(talkative.websocket, headers={"Authorization": f"Bearer {WRONG_KEY}"})
    await refusal(talkative.websocket, subprotocols=["realtime", f"openai-insecure-api-key.{WRONG_KEY}"])
    await exchange(talkative.websocket, handshake(talkative.websocket, Sec_WebSocket_Protocol=GARBAGE))
    await exchange(talkative.websocket, GARBAGE.encode() + b"\r\n\r\n")
    await talkative.until(lambda: talkative.events("session_ended"))

    written = "".join(talkative.log) + talkative.get("/metrics")[1] + talkative.get("/health")[1]
    assert '"principal": "vf_public"' in written, "the log is looked at, and holds the public part of the key"
    for canary in CANARIES:
        assert canary not in written
        assert canary.replace(" ", "") not in written
    for word in SPOKEN_CANARIES:
        assert word not in written.lower()


def test_workers_are_not_told_the_nodes_secrets(talkative: NodeProcess) -> None:
    for started in talkative.events("worker_started"):
        environment = Path(f"/proc/{started['pid']}/environ").read_text(encoding="utf-8")
        assert "VOICE_STT_MODEL" in environment
        assert KEY not in environment
        assert TOKEN_SECRET not in environment
