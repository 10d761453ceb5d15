"""Calls that outlive their connection and their node: real gateways and sockets, stand-ins for speech and model."""

import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from server.access.auth import mint_token
from tests.support.live_call import LiveCall, answer_text, live_call, refusal
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
        resumed = (await call.until("session.updated"))["session"]
        later = resumed["expires_at"] - session["expires_at"]
        assert 0 <= later < 60, "the call's longest time stands still while it has no connection"
        assert resumed == session | {"expires_at": resumed["expires_at"]}
        assert answer_text((await call.until("response.done"))["response"]) == REST
        history = texts(call)
    assert history[:3] == [("user", "Hello?"), ("assistant", f"Hello. {STORY}."), ("user", "Count.")]
    assert history[3][0] == "assistant"
    assert history[3][1].startswith("Hello. one two three four five six seven eight")
    assert history[3][1].endswith(("eight", "nine"))
    assert history[4:] == [("assistant", REST)]
    told = [message["content"] for message in answers.requests[-1]["messages"] if message["role"] != "system"]
    assert told[:4] == [text for _, text in history[:4]]


async def test_a_draining_node_has_a_client_that_can_resume_move_and_waits_for_no_more(
    leaving: NodeProcess, staying: NodeProcess, answers: OpenAiStandin
) -> None:
    async with calling(leaving) as call, calling(leaving, subject="stock") as stock:
        await call.update(x_resume=True)
        await call.type(STORY)
        await call.until("response.output_audio.delta")
        leaving.process.send_signal(signal.SIGTERM)
        move = await call.until("x_session.move")
        kinds = [event["type"] for event in call.events]
        assert "response.done" in kinds, "never inside an answer"
        assert 0 < move["seconds_left"] <= 3600
        async with calling(staying) as elsewhere:
            await elsewhere.send("x_session.resume", ticket=move["ticket"])
            await elsewhere.until("session.updated")
            await call.connection.close()
            assert await elsewhere.ask("ping") == "You said: ping"
            assert [text for _, text in texts(elsewhere)] == [STORY, f"You said: {STORY}", "ping", "You said: ping"]
        assert await stock.ask("ping") == "You said: ping"
        assert "x_session.move" not in [event["type"] for event in stock.events]
        assert leaving.metric("voice_calls_told_to_move_total") == 1
        await leaving.until(lambda: leaving.metric("voice_sessions_active") == 1)
        assert leaving.process.poll() is None
    assert leaving.process.wait(10) == 0


async def test_a_ticket_shown_again_ends_the_older_connection_and_takes_its_place(
    quick: dict[str, str], answers: OpenAiStandin
) -> None:
    with a_node(quick, VOICE_MAX_SESSIONS="1") as node:
        async with calling(node) as older:
            await older.update(x_resume=True)
            assert await older.ask("ping") == "You said: ping"
            ticket = await fresh_ticket(older)
            async with calling(node, f"?resume={ticket}", greeted=False) as newer:
                session = (await newer.until("session.created"))["session"]
                assert session["id"] == older.events[0]["session"]["id"]
                assert await older.closed() == 1000
                assert older.connection.close_reason == "resumed"
                assert await newer.ask("pong") == "You said: pong"
                assert [text for _, text in texts(newer)] == ["ping", "You said: ping", "pong", "You said: pong"]
                async with calling(node, f"?resume={ticket}", greeted=False) as newest:
                    await newest.until("session.created")
                    assert await newer.closed() == 1000
                    newest_ticket = await fresh_ticket(newest)
        assert node.metric("voice_calls_resumed_total") == 2
        await node.until(lambda: node.metric("voice_sessions_active") == 0)
        body = (await refusal(f"{node.websocket}?resume={newest_ticket}", headers=bearer())).body or b""
        assert body.startswith(b"ticket_used: ")


async def test_a_call_that_lost_its_connection_is_not_over(staying: NodeProcess, answers: OpenAiStandin) -> None:
    async with calling(staying) as call:
        await call.update(x_resume=True)
        assert await call.ask("ping") == "You said: ping"
        ticket = await fresh_ticket(call)
        call.reset()
    async with calling(staying, f"?resume={ticket}", greeted=False) as call:
        assert await call.ask("pong") == "You said: pong"
        assert [text for _, text in texts(call)] == ["ping", "You said: ping", "pong", "You said: pong"]


async def test_a_refused_ticket_is_named_and_the_connection_stays(staying: NodeProcess, answers: OpenAiStandin) -> None:
    async with calling(staying) as call:
        await call.update(x_resume=True)
        ticket = await fresh_ticket(call)
        newer = await fresh_ticket(call)
        call.reset()
    async with calling(staying, subject="other") as call:
        await call.send("x_session.resume", ticket=ticket)
        assert (await call.error())["code"] == "ticket_foreign"
        assert await call.ask("ping") == "You said: ping"
    flipped = ticket[:-8] + ("A" if ticket[-8] != "A" else "B") + ticket[-7:]
    async with calling(staying) as call:
        await call.send("x_session.resume", ticket=flipped)
        assert (await call.error())["code"] == "ticket_damaged"
    async with calling(staying) as call:
        await call.send("x_session.resume", ticket=newer)
        await call.until("session.updated")
    async with calling(staying) as call:
        await call.send("x_session.resume", ticket=ticket)
        assert (await call.error())["code"] == "ticket_used"
    for reason in ("foreign", "damaged", "used"):
        assert staying.metric("voice_tickets_refused_total", reason=reason) == 1
    response = await refusal(f"{staying.websocket}?resume=nonsense", headers=bearer())
    assert (response.status_code, (response.body or b"")[:15]) == (400, b"ticket_damaged:")


async def test_a_conversation_of_many_items_comes_back_whole(staying: NodeProcess, answers: OpenAiStandin) -> None:
    async with calling(staying) as call:
        await call.update(x_resume=True)
        for number in range(400):
            content = [{"type": "input_text", "text": f"item {number}"}]
            await call.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
        while "item 399" not in str(call.events[-1]):
            await call.event()
        ticket = await fresh_ticket(call)
        call.reset()
    async with calling(staying) as call:
        await call.send("x_session.resume", ticket=ticket)
        while len(texts(call)) < 400:
            await call.event()
        assert [text for _, text in texts(call)] == [f"item {number}" for number in range(400)]


async def test_a_call_that_fits_into_no_ticket_is_told_so_once_and_when_it_asks_and_goes_on(
    quick: dict[str, str], answers: OpenAiStandin
) -> None:
    def refusals(call: LiveCall) -> list[str]:
        return [event["error"]["code"] for event in call.events if event["type"] == "error"]

    with a_node(quick, VOICE_MAX_MESSAGE_BYTES="4096") as node:
        async with calling(node) as call:
            await call.update(x_resume=True, truncation="disabled", instructions="Be brief. " * 200)
            assert (await call.error())["code"] == "call_too_large"
            for _ in range(3):
                assert await call.ask("ping") == "You said: ping"
            assert refusals(call) == ["call_too_large"]
            await call.send("x_session.ticket.retrieve")
            await call.error()
            assert refusals(call) == ["call_too_large"] * 2
            assert not [event for event in call.events if event["type"] == "x_session.ticket"]
