"""Calls that outlive their connection and their node: real gateways and sockets, stand-ins for speech and model."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from server.access.auth import mint_token
from tests.support.live_call import LiveCall, answer_text, live_call
from tests.support.node import NodeProcess, running_node
from tests.support.openai_llm_standin import OpenAiStandin

SECRET = "a-secret-of-more-than-thirty-two-bytes"
STORY = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
REST = "and that is all"


def bearer(subject: str = "web") -> dict[str, str]:
    return {"Authorization": f"Bearer {mint_token(SECRET, subject, 600.0, time.time())}"}


def a_node(quick: dict[str, str], **settings: str) -> Any:
    return running_node(**{**quick, "VOICE_TOKEN_SECRET": SECRET, "VOICE_RESUME_SECONDS": "10", **settings})


@pytest.fixture(scope="module")
def staying(quick: dict[str, str]) -> Iterator[NodeProcess]:
    """The node that calls go on at."""
    with a_node(quick) as running:
        yield running


@pytest.fixture
def leaving(quick: dict[str, str]) -> Iterator[NodeProcess]:
    """A node that a test may end."""
    with a_node(quick) as running:
        yield running


def calling(node: NodeProcess, query: str = "", subject: str = "web", **options: Any) -> Any:
    return live_call(f"{node.websocket}{query}", additional_headers=bearer(subject), **options)


async def ticket_with(call: LiveCall, text: str) -> str:
    """A ticket that is newer than the next event with these words in it."""
    while text not in str(await call.event()):
        pass
    return str((await call.until("x_session.ticket"))["ticket"])


async def fresh_ticket(call: LiveCall) -> str:
    await call.send("x_session.ticket.retrieve")
    return str((await call.until("x_session.ticket"))["ticket"])


def texts(call: LiveCall) -> list[tuple[str, str]]:
    """Who said what, as the call's own events tell it."""
    done = [event["item"] for event in call.events if event["type"] == "conversation.item.done"]
    return [(item["role"], answer_text({"output": [item]})) for item in done]


async def test_a_call_whose_node_is_killed_in_mid_answer_goes_on_at_another_with_what_was_heard(
    leaving: NodeProcess, staying: NodeProcess, answers: OpenAiStandin
) -> None:
    answers.answer = lambda request: REST if "cut off" in str(request["messages"]) else f"Hello. {STORY}."
    async with calling(leaving) as call:
        session = (await call.update(x_resume=True, instructions="Be brief."))["session"]
        await call.turn("Hello?", output_modalities=["text"])
        await call.type("Count.")
        item_id = (await call.until("response.output_audio.delta"))["item_id"]
        ticket = await ticket_with(call, "fifteen")
        leaving.process.kill()
    async with calling(staying) as call:
        await call.send("x_session.resume", ticket=ticket, played={"item_id": item_id, "audio_end_ms": 3000})
        assert (await call.until("session.updated"))["session"] == session
        assert answer_text((await call.until("response.done"))["response"]) == REST
        history = texts(call)
    assert history[:3] == [("user", "Hello?"), ("assistant", f"Hello. {STORY}."), ("user", "Count.")]
    assert history[3][0] == "assistant"
    assert history[3][1].startswith("Hello. one two three four five six seven eight")
    assert history[3][1].endswith(("eight", "nine"))
    assert history[4:] == [("assistant", REST)]
    told = [message["content"] for message in answers.requests[-1]["messages"] if message["role"] != "system"]
    assert told[:4] == [text for _, text in history[:4]]
