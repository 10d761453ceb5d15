"""One caller against the others: what a flood costs whoever sends it, and nobody else."""

import asyncio
import json
from base64 import b64encode
from typing import Any

import pytest

from tests.support.live_call import frame, live_call, serves
from tests.support.node import NodeProcess

pytestmark = pytest.mark.usefixtures("no_error_logged")

PING, TEXT, CONTINUATION = 9, 1, 0


def item(text: str, parts: int = 1, **fields: Any) -> dict[str, Any]:
    content = [{"type": "input_text", "text": text}] * parts
    return {"type": "message", "role": "user", "content": content, **fields}


async def test_a_client_that_reads_is_not_cut_however_much_it_asks_for_at_once(node: NodeProcess) -> None:
    """A history of 2,000 items restored in one go, and a hundred tools, are what an honest application may send."""
    tools = [{"type": "function", "name": f"tool_{n}", "description": "What it does. " * 20} for n in range(100)]
    async with live_call(node.websocket) as call:
        await call.update(tools=tools)
        for number in range(2000):
            await call.send("conversation.item.create", item=item(f"Word {number}.", id=f"item_number_{number}"))
        for number in range(2000):
            await call.send("conversation.item.retrieve", item_id=f"item_number_{number}")
        for _ in range(2000):
            await call.until("conversation.item.retrieved")
        assert (await call.turn("ping", output_modalities=["text"]))["status"] != "failed"


@pytest.mark.parametrize(
    ("flood", "limit"),
    [
        (frame(PING, b"x" * 100) * 2_000, "max_pings_per_second"),
        (frame(TEXT, b'{"type":"input_audio_buffer.append","audio":""}') * 25_000, "max_messages_per_second"),
    ],
    ids=["pings", "messages"],
)
async def test_a_flood_of_frames_ends_its_call(node: NodeProcess, flood: bytes, limit: str) -> None:
    met = node.metric("voice_limits_met_total", limit=limit)
    async with live_call(node.websocket, ping_interval=None) as other, live_call(node.websocket) as call:
        await call.send_bytes(flood)
        assert await call.closed() == 1008
        assert await other.ask("ping") == "You said: ping"
    await node.until(lambda: node.metric("voice_limits_met_total", limit=limit) == met + 1)


async def test_a_message_of_too_many_fragments_ends_its_call(node: NodeProcess) -> None:
    async with live_call(node.websocket, ping_interval=None) as other, live_call(node.websocket) as call:
        await call.send_bytes(frame(TEXT, b"", fin=False) + frame(CONTINUATION, b"", fin=False) * 200_000)
        assert await call.closed() == 1009
        assert await other.ask("ping") == "You said: ping"


async def test_two_hundred_pings_at_once_are_answered(node: NodeProcess) -> None:
    async with live_call(node.websocket) as call:
        pongs = [await call.connection.ping(str(number)) for number in range(200)]
        await asyncio.gather(*pongs)
        assert await call.ask("ping") == "You said: ping"


async def test_a_call_over_its_share_of_the_loop_waits_and_the_others_do_not(node: NodeProcess) -> None:
    tools = [{"type": "function", "name": f"tool_{n}", "description": "x" * 1500} for n in range(500)]
    update = json.dumps({"type": "session.update", "session": {"type": "realtime", "tools": tools}})
    met = node.metric("voice_limits_met_total", limit="max_loop_share")

    async def burden() -> None:
        async with live_call(node.websocket) as call:
            while True:
                await call.connection.send(update)
                await call.connection.recv()

    async with asyncio.TaskGroup() as tasks:
        burdening = tasks.create_task(burden())
        async with asyncio.timeout(60), live_call(node.websocket) as call:
            while await asyncio.to_thread(node.metric, "voice_limits_met_total", limit="max_loop_share") == met:
                assert await call.ask("ping") == "You said: ping"
            assert await call.ask("ping") == "You said: ping"
        burdening.cancel()


async def test_references_to_one_long_item_are_counted_and_not_built(node: NodeProcess) -> None:
    async with live_call(node.websocket) as call:
        await call.send("conversation.item.create", item=item("x" * 900_000, id="long"))
        references = [{"type": "item_reference", "id": "long"}] * 9000
        await call.send("response.create", response={"conversation": "none", "input": references})
        error = await call.error()
        assert error["code"] == "limit_exceeded"
        assert "8,100,036,000 bytes" in error["message"]
        assert await call.ask("ping") == "You said: ping"


async def test_a_conversation_is_full_at_some_size_and_says_so(node: NodeProcess) -> None:
    async with live_call(node.websocket) as call:
        for _ in range(10):
            await call.send("conversation.item.create", item=item("x" * 900_000))
        assert (await call.error())["code"] == "limit_exceeded"
        assert node.metric("voice_limits_met_total", limit="max_conversation_bytes") >= 1
    assert await serves(node.websocket)


async def test_audio_over_the_allowance_is_a_limit_met_too(node: NodeProcess) -> None:
    met = node.metric("voice_limits_met_total", limit="audio_rate")
    async with live_call(node.websocket) as call:
        await call.update(audio={"input": {"format": {"type": "audio/pcmu"}, "turn_detection": None}})
        audio = b64encode(b"\xff" * 8000 * 61).decode()
        message = json.dumps({"type": "input_audio_buffer.append", "audio": audio})
        await call.connection.send(message)
        await call.connection.send(message)
        assert (await call.error())["code"] == "rate_limit_exceeded"
    assert node.metric("voice_limits_met_total", limit="audio_rate") == met + 1
