"""Telephone calls over Twilio Media Streams to a real node: a spoken call from greeting to keys, and who gets in."""

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from server.access.auth import mint_token
from server.access.twilio_signature import TwilioSignatures
from server.audio import Samples
from server.client.caller import WIRE_RATE
from server.client.errors import CallFailed
from server.client.twilio_caller import twilio_call
from server.llm.clauses import ClauseCutter
from tests.support.live_call import LiveCall, live_call, refusal
from tests.support.node import NodeProcess, running_node
from tests.support.openai_llm_standin import OpenAiStandin, by_rules
from tests.support.phone import voice_of
from tests.support.speech import resample
from tests.support.twilio_messages import CONNECTED, DTMF, MEDIA, START, STOP, start

GREETING = "Front desk. How can I help you?"
TALE = (
    "Once upon a time there was a farmer who had three sons. The eldest went to sea. The second one became a baker. "
    "The youngest stayed at home and looked after the sheep on the green hills behind the house."
)
AUTH_TOKEN = "5f2b8c1d9e7a46038b5d1c2e4f6a7980"
TOKEN_SECRET = "a-secret-of-more-than-thirty-two-bytes"
PUBLIC_URL = "wss://voice.example.com/twilio"


async def telephone(text: str) -> Samples:
    """`text`, spoken into a telephone (8 kHz)."""
    return np.frombuffer(resample((await voice_of(text)).tobytes(), WIRE_RATE, 8000), "<i2")


@pytest.mark.usefixtures("no_error_logged")
async def test_a_spoken_call_from_its_greeting_to_its_keys_is_in_history_as_it_was_heard(
    node: NodeProcess, answers: OpenAiStandin
) -> None:
    answers.answer = by_rules({"story": TALE, "grass": "Green.", "pressed": "Room forty-two."})
    story, grass = await telephone("Tell me a story."), await telephone("What is the color of grass?")
    async with asyncio.timeout(60.0), twilio_call(node.twilio, {"greeting": GREETING}) as line:
        played, cleared = line.playout.played, line.playout.cleared
        await line.until(lambda: len(played) == 2)  # the greeting's sentences
        await line.begin(story)
        await line.until(lambda: len(played) >= 4)  # two sentences of the tale, at least
        await line.begin(grass)
        await line.until(lambda: line.sent[-1]["event"] == "clear")
        told, heard = played[2:], set(cleared)
        await line.until(lambda: len(played) > 2 + len(told))  # the answer
        await line.press("42#")
        await line.until(lambda: len(played) > 3 + len(told))
    said = [(message["role"], message["content"]) for message in answers.requests[-1]["messages"]][2:]
    assert [role for role, _ in said] == ["assistant", "user", "assistant", "user", "assistant", "user"]
    greeting, asked_first, tale, asked_then, answer, keys = (text for _, text in said)
    assert (greeting, answer, keys) == (GREETING, "Green.", "the caller pressed 4, 2, #")
    assert "story" in asked_first
    assert "grass" in asked_then
    clauses = [*(cutter := ClauseCutter()).push(TALE), *cutter.flush()]
    assert tale.startswith(" ".join(clauses[: len(told)]))
    assert TALE.startswith(tale)
    assert len(tale) < len(" ".join(clauses[: len(told) + 1]))
    assert heard.isdisjoint(played)
    assert node.metric("voice_interruptions_total") >= 1
    assert not [text for text in node.log if "grass" in text or "pressed" in text or "Front desk" in text]


# --- who gets in


@pytest.fixture(scope="module")
def guarded(quick: dict[str, str]) -> Iterator[NodeProcess]:
    """A node behind a load balancer, that wants Twilio's signature or a token, and takes two calls."""
    with running_node(
        **quick,
        VOICE_TWILIO_AUTH_TOKEN=AUTH_TOKEN,
        VOICE_TWILIO_URL=PUBLIC_URL,
        VOICE_TOKEN_SECRET=TOKEN_SECRET,
        VOICE_MAX_SESSIONS="2",
    ) as running:
        yield running


def signed(url: str = PUBLIC_URL, auth_token: str = AUTH_TOKEN) -> dict[str, str]:
    """The header of a handshake that Twilio makes for `url`."""
    return {"X-Twilio-Signature": TwilioSignatures(auth_token).sign(url).decode()}


def token(sessions: int = 0) -> str:
    return mint_token(TOKEN_SECRET, "desk", 3600, time.time(), sessions)


async def begin(call: LiveCall, **parameters: str) -> None:
    """The stream's first messages."""
    for message in (CONNECTED, start(greeting=GREETING, **parameters)):
        await call.connection.send(json.dumps(message))


async def is_served(call: LiveCall) -> bool:
    """Whether the caller is spoken to."""
    return bool((await call.event())["event"] == "media")


async def test_a_stream_that_twilio_signed_for_the_public_address_is_served(guarded: NodeProcess) -> None:
    before = len(guarded.events("session_started"))
    async with live_call(guarded.twilio, greeted=False, additional_headers=signed()) as call:
        await begin(call)
        assert await is_served(call)
    assert (await guarded.logged("session_started", before))["principal"] == "twilio"


@pytest.mark.parametrize(
    "headers",
    [signed(auth_token="0" * 32), signed("wss://elsewhere.example.com/twilio"), {"X-Twilio-Signature": ""}],
    ids=["another account", "another address", "empty"],
)
async def test_a_stream_that_is_signed_wrongly_is_refused(guarded: NodeProcess, headers: dict[str, str]) -> None:
    refused = await refusal(guarded.twilio, headers=headers)
    assert refused.status_code == 401
    assert b"VOICE_TWILIO_URL" in refused.body


async def test_a_stream_that_is_not_signed_is_served_by_its_token(guarded: NodeProcess) -> None:
    before = len(guarded.events("session_started"))
    async with live_call(f"{guarded.twilio}/", greeted=False, subprotocols=["audio.twilio.com"]) as call:
        assert call.connection.subprotocol == "audio.twilio.com"
        await begin(call, token=token())
        assert await is_served(call)
    assert (await guarded.logged("session_started", before))["principal"] == "desk"


@pytest.mark.parametrize("shown", [{}, {"token": "x.y.z"}], ids=["none", "wrong"])
async def test_a_stream_that_shows_no_right_token_is_ended(guarded: NodeProcess, shown: dict[str, str]) -> None:
    before = len(guarded.events("client_at_fault"))
    async with live_call(guarded.twilio, greeted=False) as call:
        await begin(call, **shown)
        assert await call.closed() == 1008
    assert (await guarded.logged("client_at_fault", before))["fault"] == "credentials"


async def test_a_stream_that_does_not_start_holds_no_place_and_is_ended_soon(guarded: NodeProcess) -> None:
    async with (
        live_call(guarded.twilio, greeted=False) as silent,
        live_call(guarded.twilio, greeted=False) as connected,
        live_call(guarded.twilio, greeted=False, additional_headers=signed()) as call,
    ):
        await connected.connection.send(json.dumps(CONNECTED))
        await begin(call)
        assert await is_served(call)
        assert guarded.metric("voice_sessions_active") == 1
        assert [*await asyncio.gather(silent.closed(), connected.closed())] == [1008, 1008]
    assert guarded.metric("voice_client_faults_total", fault="no_start") == 2


async def test_a_full_node_takes_no_stream_and_a_subject_no_more_than_its_own(guarded: NodeProcess) -> None:
    async with live_call(guarded.twilio, greeted=False) as first:
        await begin(first, token=token(sessions=1))
        assert await is_served(first)
        async with live_call(guarded.twilio, greeted=False) as second:
            await begin(second, token=token(sessions=1))
            assert await second.closed() == 1013
        async with live_call(guarded.twilio, greeted=False, additional_headers=signed()) as third:
            await begin(third)
            assert await is_served(third)
            assert (await refusal(guarded.twilio, headers=signed())).status_code == 503
    await guarded.until(lambda: guarded.metric("voice_sessions_active") == 0)


@pytest.mark.parametrize(
    ("messages", "close_code"),
    [
        ([MEDIA], 1002),
        ([CONNECTED, "{"], 1007),
        ([CONNECTED, b"\0"], 1003),
        ([CONNECTED, START, START], 1002),
        ([CONNECTED, START, DTMF | {"dtmf": {"digit": "E"}}], 1007),
        ([CONNECTED, start(language="xx")], 1008),
    ],
    ids=["order", "no JSON", "binary", "started twice", "no key", "unknown language"],
)
@pytest.mark.usefixtures("no_error_logged")
async def test_what_breaks_the_protocol_ends_the_call_with_its_code(
    node: NodeProcess, messages: list[dict[str, Any] | str | bytes], close_code: int
) -> None:
    async with live_call(node.twilio, greeted=False) as call:
        for message in messages:
            await call.connection.send(json.dumps(message) if isinstance(message, dict) else message)
        assert await call.closed() == close_code


async def test_a_call_that_has_stopped_leaves_nothing_behind(guarded: NodeProcess) -> None:
    before = len(guarded.events("session_ended"))
    async with live_call(guarded.twilio, greeted=False, additional_headers=signed()) as call:
        await begin(call)
        assert await is_served(call)
        await call.connection.send(json.dumps(STOP))
    await guarded.until(lambda: guarded.metric("voice_sessions_active") == 0)
    assert (await guarded.logged("session_ended", before))["close_code"] == 1000


async def test_a_caller_says_why_it_is_not_let_in(guarded: NodeProcess) -> None:
    with pytest.raises(CallFailed, match="parameter token"):
        async with asyncio.timeout(10.0), twilio_call(guarded.twilio, {"token": "no token"}) as line:
            await line.say(np.zeros(800, np.int16))


async def test_no_secret_is_logged(guarded: NodeProcess) -> None:
    assert not [line for line in guarded.log if AUTH_TOKEN in line or "eyJ" in line]
