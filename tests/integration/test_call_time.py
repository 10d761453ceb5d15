"""Calls that the node ends: idle ones, long ones, and those whose credential is no longer good. And how many calls one
caller may hold."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from websockets import ConnectionClosed

from server.access.auth import mint_token
from tests.support.live_call import LiveCall, answer_text, live_call, refusal
from tests.support.node import NodeProcess, running_node
from tests.support.openai_llm_standin import OpenAiStandin

SECRET = "a-secret-of-more-than-thirty-two-bytes"
KEY = "vf_shop.wq0Zk3hVb1"
IDLE, LONGEST = 2.0, 5.0
PER_TOKEN = 2


@pytest.fixture(scope="module")
def brief(quick: dict[str, str]) -> Iterator[NodeProcess]:
    """A node with little patience."""
    with running_node(
        **quick,
        VOICE_API_KEYS=KEY,
        VOICE_TOKEN_SECRET=SECRET,
        VOICE_MAX_IDLE_SECONDS=str(IDLE),
        VOICE_MAX_CALL_SECONDS=str(LONGEST),
        VOICE_SESSIONS_PER_TOKEN=str(PER_TOKEN),
    ) as running:
        yield running


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


def token(subject: str = "web", seconds: float = 60.0, sessions: int = 0) -> dict[str, str]:
    return bearer(mint_token(SECRET, subject, seconds, time.time(), sessions))


async def keep_busy(call: LiveCall) -> None:
    """The client is heard from until the call is over."""
    with suppress(ConnectionClosed):
        while True:
            await call.send("input_audio_buffer.clear")
            await asyncio.sleep(0.2)


async def send_silence(call: LiveCall) -> None:
    """The client sends what a microphone hears where nobody is, until the call is over."""
    with suppress(ConnectionClosed):
        while True:
            await call.append(bytes(9600))
            await asyncio.sleep(0.2)


def types(call: LiveCall) -> list[str]:
    return [event["type"] for event in call.events]


def said(call: LiveCall) -> str:
    return answer_text(next(event for event in call.events if event["type"] == "response.done")["response"])


async def test_a_call_in_which_nobody_speaks_hears_a_goodbye_and_ends(
    brief: NodeProcess, answers: OpenAiStandin
) -> None:
    answers.answer, answers.strict = (lambda _: "Goodbye."), True
    async with live_call(brief.websocket, additional_headers=bearer(KEY)) as call:
        sending = asyncio.create_task(send_silence(call))
        started = time.monotonic()
        assert await call.closed() == 1000
        assert time.monotonic() - started > IDLE
        assert call.connection.close_reason == "idle"
        await sending
    assert said(call) == "Goodbye."
    assert "response.output_audio.delta" in types(call)
    assert not [kind for kind in types(call) if kind.startswith("x_") or kind == "error"]
    assert brief.metric("voice_calls_ended_total", reason="idle") == 1


async def test_the_longest_call_ends_with_a_warning_to_whoever_asked_for_one(
    brief: NodeProcess, answers: OpenAiStandin
) -> None:
    answers.answer = lambda _: "Goodbye."
    async with live_call(brief.websocket, additional_headers=bearer(KEY)) as call:
        await call.update(x_session_expiring=True)
        busy = asyncio.create_task(keep_busy(call))
        warning = await call.until("x_session.expiring")
        assert warning["reason"] == "longest_call"
        assert 0 < warning["seconds_left"] <= LONGEST / 2
        assert await call.closed() == 1000
        assert call.connection.close_reason == "longest_call"
        await busy
    assert said(call) == "Goodbye."
    assert types(call).count("x_session.expiring") == 1


async def test_a_call_ends_with_its_token(brief: NodeProcess) -> None:
    async with live_call(brief.websocket, additional_headers=token(seconds=2.0)) as call:
        busy = asyncio.create_task(keep_busy(call))
        assert await call.closed() == 1000
        assert call.connection.close_reason == "credential_expired"
        await busy


async def test_a_subject_holds_so_many_calls_and_no_other_notices(brief: NodeProcess) -> None:
    refused = brief.metric("voice_handshakes_refused_total", reason="caller_full")
    full = brief.metric("voice_handshakes_refused_total", reason="full")
    async with live_call(brief.websocket, additional_headers=token()):
        async with live_call(brief.websocket, additional_headers=token()):
            response = await refusal(brief.websocket, headers=token())
            assert response.status_code == 429
            assert response.headers["Retry-After"] == "2"
            assert "2 calls at once" in (response.body or b"").decode()
            async with live_call(brief.websocket, additional_headers=token("someone else")):
                pass
        await brief.until(lambda: brief.metric("voice_sessions_active") == 1)
        async with live_call(brief.websocket, additional_headers=token()):
            pass
    assert brief.metric("voice_handshakes_refused_total", reason="caller_full") == refused + 1
    assert brief.metric("voice_handshakes_refused_total", reason="full") == full


async def test_a_token_may_allow_itself_less_but_not_more(brief: NodeProcess) -> None:
    async with live_call(brief.websocket, additional_headers=token("modest", sessions=1)):
        assert (await refusal(brief.websocket, headers=token("modest", sessions=1))).status_code == 429
    async with (
        live_call(brief.websocket, additional_headers=token("greedy", sessions=100)),
        live_call(brief.websocket, additional_headers=token("greedy", sessions=100)),
    ):
        assert (await refusal(brief.websocket, headers=token("greedy", sessions=100))).status_code == 429


async def test_a_key_holds_as_many_calls_as_it_likes(brief: NodeProcess) -> None:
    calls: list[Any] = [live_call(brief.websocket, additional_headers=bearer(KEY)) for _ in range(PER_TOKEN + 2)]
    await asyncio.gather(*(call.__aenter__() for call in calls))
    await asyncio.gather(*(call.__aexit__(None, None, None) for call in calls))
