"""What waits for a client: bounded, in order, and never refused to one that reads."""

import asyncio

import pytest

from server.outbox import Outbox, SlowClient
from server.wire_message import WireMessage


async def test_messages_leave_in_their_order() -> None:
    outbox = Outbox()
    reading = asyncio.create_task(outbox.get())
    await asyncio.sleep(0)
    first, second = WireMessage(b"first"), WireMessage(b"second", binary=True)
    outbox.put(first)
    outbox.put(second)
    assert [await reading, await outbox.get()] == [first, second]


@pytest.mark.parametrize(("data", "count"), [(b"x", 256), (bytes(1_048_576), 17)])
async def test_so_many_and_so_much_may_wait(data: bytes, count: int) -> None:
    outbox = Outbox()
    for _ in range(count):
        outbox.put(WireMessage(data))
    with pytest.raises(SlowClient):
        outbox.put(WireMessage(data))
    await outbox.get()
    outbox.put(WireMessage(data))


@pytest.mark.parametrize(("data", "half"), [(b"x", 128), (bytes(1_048_576), 8)])
async def test_who_asks_for_more_waits_until_half_of_it_has_left(data: bytes, half: int) -> None:
    outbox = Outbox()
    for _ in range(half + 2):
        outbox.put(WireMessage(data))
    waiting = asyncio.create_task(outbox.half_empty())
    await outbox.get()
    await asyncio.sleep(0)
    assert not waiting.done()
    await outbox.get()
    await waiting
